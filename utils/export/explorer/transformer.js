/* The Transformer of utils/transformer.py in plain JavaScript; every query, key, value and weight can be looked at.
   A matrix is a Float32Array, its rows one after the other; what attention asks is a list of rows. */

const rows = (x, d) => Array.from({ length: x.length / d }, (_, r) => x.subarray(r * d, r * d + d));

/** y = x W^T + b, x (n, d), W (out, d). Four rows of x share one pass over W. */
function product(x, W, b, d, out) {
  const n = x.length / d, y = new Float32Array(n * out);
  let r = 0;
  for (; r + 4 <= n; r += 4) {
    const x0 = r * d, x1 = x0 + d, x2 = x1 + d, x3 = x2 + d;
    for (let o = 0, w = 0; o < out; o++) {
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0;
      for (let i = 0; i < d; i++, w++) {
        const v = W[w];
        a0 += v * x[x0 + i];
        a1 += v * x[x1 + i];
        a2 += v * x[x2 + i];
        a3 += v * x[x3 + i];
      }
      const bias = b ? b[o] : 0, at = r * out + o;
      y[at] = a0 + bias;
      y[at + out] = a1 + bias;
      y[at + 2 * out] = a2 + bias;
      y[at + 3 * out] = a3 + bias;
    }
  }
  for (; r < n; r++) {
    for (let o = 0, w = 0; o < out; o++) {
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, i = r * d;
      const end = w + d;
      for (; w + 4 <= end; w += 4, i += 4) { // four sums are faster than one
        a0 += W[w] * x[i];
        a1 += W[w + 1] * x[i + 1];
        a2 += W[w + 2] * x[i + 2];
        a3 += W[w + 3] * x[i + 3];
      }
      for (; w < end; w++, i++) a0 += W[w] * x[i];
      y[r * out + o] = a0 + a1 + a2 + a3 + (b ? b[o] : 0);
    }
  }
  return y;
}

/** In place; a (n). */
function softmax(a) {
  let most = -Infinity, sum = 0;
  for (const x of a) if (x > most) most = x;
  for (let i = 0; i < a.length; i++) sum += a[i] = Math.exp(a[i] - most);
  for (let i = 0; i < a.length; i++) a[i] /= sum;
  return a;
}

/** One query asks: q (d), keys and values lists of rows (d). Returns b (d), heads side by side, and per head its weights.
    silent(h): whether head h is off and gives zeros. */
function attend(q, keys, values, heads, silent) {
  const d = q.length / heads, b = new Float32Array(q.length), weights = [];
  for (let h = 0; h < heads; h++) {
    const from = h * d, to = from + d;
    weights.push(softmax(Float32Array.from(keys, (key) => {
      let score = 0;
      for (let i = from; i < to; i++) score += q[i] * key[i];
      return score / Math.sqrt(d);
    })));
    if (silent(h)) continue;
    weights[h].forEach((weight, j) => {
      for (let i = from, value = values[j]; i < to; i++) b[i] += weight * value[i];
    });
  }
  return { b, weights };
}

function add(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
}

const joined = (parts, d) => {
  const x = new Float32Array(parts.length * d);
  parts.forEach((part, r) => x.set(part, r * d));
  return x;
};

export class Transformer {
  /** weights: name -> Float32Array, names as in the checkpoint. */
  constructor(config, weights) {
    Object.assign(this, { config, weights, positions: [], off: new Set() }); // off: "encoder.0.3", kind, layer, head
    this.decoderLayers = config.decoder_layers ?? config.n_layers;
  }

  position(p) {
    const d = this.config.d_model;
    return (this.positions[p] ??= Float32Array.from({ length: d }, (_, i) => {
      const angle = p * 10000 ** (-(i - (i % 2)) / d);
      return i % 2 ? Math.cos(angle) : Math.sin(angle);
    }));
  }

  /** ids, the first at position `start`; with `side`, all at that position. */
  embed(name, ids, start, side = false) {
    const d = this.config.d_model, E = this.weights[`${name}.weight`], scale = Math.sqrt(d);
    const x = new Float32Array(ids.length * d);
    ids.forEach((id, r) => {
      const position = this.position(side ? start : start + r);
      for (let i = 0; i < d; i++) x[r * d + i] = E[id * d + i] * scale + position[i];
    });
    return x;
  }

  norm(x, name) {
    const d = this.config.d_model, gain = this.weights[`${name}.weight`], bias = this.weights[`${name}.bias`];
    const y = new Float32Array(x.length);
    for (let r = 0; r < x.length; r += d) {
      let mean = 0, variance = 0;
      for (let i = r; i < r + d; i++) mean += x[i] / d;
      for (let i = r; i < r + d; i++) variance += (x[i] - mean) ** 2 / d;
      const scale = 1 / Math.sqrt(variance + 1e-5);
      for (let i = 0; i < d; i++) y[r + i] = (x[r + i] - mean) * scale * gain[i] + bias[i];
    }
    return y;
  }

  /** What a sublayer, or the end of a stack, reads: x normed, or x as it is where norm comes after the addition. */
  before(x, name) {
    return this.config.norm_first ? this.norm(x, name) : x;
  }

  /** In place, after the addition. */
  after(x, name) {
    if (!this.config.norm_first) x.set(this.norm(x, name));
  }

  linear(x, name, d = this.config.d_model, out = this.config.d_model, part = 0) {
    const W = this.weights[`${name}.weight`], b = this.weights[`${name}.bias`], first = part * out;
    return product(x, W.subarray(first * d, (first + out) * d), b.subarray(first, first + out), d, out);
  }

  /** Part 0, 1 or 2 of the stacked projections: queries, keys or values, as a list of rows. */
  projected(x, name, part) {
    const d = this.config.d_model;
    return rows(this.linear(x, `${name}.in_proj`, d, d, part), d);
  }

  feedForward(x, name) {
    const { d_model, d_ff } = this.config;
    const inner = this.linear(this.before(x, `${name}.ffn_norm`), `${name}.feed_forward.inner`, d_model, d_ff);
    for (let i = 0; i < inner.length; i++) if (inner[i] < 0) inner[i] = 0;
    add(x, this.linear(inner, `${name}.feed_forward.outer`, d_ff, d_model));
    this.after(x, `${name}.ffn_norm`);
  }

  /** x += W^O b: each query asks its own keys and values. Returns, per query, {q, b, weights (a head each)}. */
  ask(x, name, kind, layer, queries, keys, values) {
    const silent = (h) => this.off.has(`${kind}.${layer}.${h}`);
    const found = queries.map((q, r) => ({ q, ...attend(q, keys[r], values[r], this.config.n_heads, silent) }));
    add(x, this.linear(joined(found.map(({ b }) => b), this.config.d_model), `${name}.out_proj`));
    return found;
  }

  /** Source ids -> what decoding needs, and how the encoder looked: per layer {keys, values, queries: [{q, b, weights}]}. */
  encode(src) {
    const x = this.embed("src_embedding", src, 0), looks = [];
    for (let layer = 0; layer < this.config.n_layers; layer++) {
      const name = `encoder.${layer}`, at = `${name}.self_attention`, y = this.before(x, `${name}.attention_norm`);
      const [queries, keys, values] = [0, 1, 2].map((part) => this.projected(y, at, part));
      const all = (list) => src.map(() => list);
      looks.push({ keys, values, queries: this.ask(x, at, "encoder", layer, queries, all(keys), all(values)) });
      this.after(x, `${name}.attention_norm`);
      this.feedForward(x, name);
    }
    const memory = this.before(x, "encoder_norm");
    const cross = Array.from({ length: this.decoderLayers }, (_, layer) => {
      const at = `decoder.${layer}.cross_attention`;
      return { keys: this.projected(memory, at, 1), values: this.projected(memory, at, 2) };
    });
    return { src, looks, cross };
  }

  /** The cache of a hypothesis that has said nothing yet: a layer each. */
  emptyCache() {
    return Array.from({ length: this.decoderLayers }, () => ({ keys: [], values: [] }));
  }

  /** One more token for each hypothesis {ids, cache}, all of one length. Returns for each its logits, the grown cache,
      and how the decoder looked: self and cross, a layer each, {q, b, weights}. */
  step(source, hypotheses) {
    const { d_model: d, tgt_vocab } = this.config, t = hypotheses[0].ids.length - 1;
    const y = this.embed("tgt_embedding", hypotheses.map(({ ids }) => ids[t]), t, true);
    const steps = hypotheses.map(() => ({ cache: [], self: [], cross: [] }));
    for (let layer = 0; layer < this.decoderLayers; layer++) {
      const name = `decoder.${layer}`, own = `${name}.self_attention`, across = `${name}.cross_attention`;
      let z = this.before(y, `${name}.attention_norm`);
      const [queries, keys, values] = [0, 1, 2].map((part) => this.projected(z, own, part));
      const grown = hypotheses.map(({ cache }, r) => ({
        keys: [...cache[layer].keys, keys[r]],
        values: [...cache[layer].values, values[r]],
      }));
      this.ask(y, own, "self", layer, queries, grown.map((c) => c.keys), grown.map((c) => c.values)).forEach((look, r) => {
        steps[r].self.push(look);
        steps[r].cache.push(grown[r]);
      });
      this.after(y, `${name}.attention_norm`);
      z = this.before(y, `${name}.cross_attention_norm`);
      const memory = source.cross[layer], all = (list) => hypotheses.map(() => list);
      this.ask(y, across, "cross", layer, this.projected(z, across, 0), all(memory.keys), all(memory.values)).forEach(
        (look, r) => steps[r].cross.push(look),
      );
      this.after(y, `${name}.cross_attention_norm`);
      this.feedForward(y, name);
    }
    const logits = product(this.before(y, "decoder_norm"), this.weights["tgt_embedding.weight"], null, d, tgt_vocab);
    return steps.map((step, r) => ({ ...step, logits: logits.subarray(r * tgt_vocab, (r + 1) * tgt_vocab) }));
  }
}
