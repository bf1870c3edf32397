"""The model as two ONNX graphs: the encoder, and one step of the decoder with its cache. Needs onnx to write them.

They are written operation by operation, not traced: a trace keeps the sizes and the branches of its example, silently.
"""

import math
from pathlib import Path

import torch

OPSET, IR = 17, 8  # 17 is the first with LayerNormalization; ONNX Runtime reads both since version 1.12
POSITIONS = 512


class Graph:
    """Operations and weights in the order in which they are added; a value is known by its name."""

    def __init__(self, model):
        self.model, self.nodes, self.weights = model, [], {}
        self.heads, self.d = model.config.n_heads, model.config.d_model

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        """Add an operation; its output's name."""
        from onnx import helper

        name = attributes.pop("name", f"{kind}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, value, name: str | None = None) -> str:
        """Add a weight, or a number: a float, an int or a list of ints."""
        from onnx import numpy_helper

        value = torch.as_tensor(value).detach()
        name = name or f"constant_{len(self.weights)}"
        self.weights[name] = numpy_helper.from_array(value.contiguous().numpy(), name)
        return name

    # ---- the parts of a Transformer ----

    def linear(self, x: str, weight, bias) -> str:
        """W x + b. (B, T, D) -> (B, T, D_out)."""
        return self.op("Add", self.op("MatMul", x, self.constant(weight.t())), self.constant(bias))

    def norm(self, x: str, layer) -> str:
        """Layer norm; nothing where the model has none (nn.Identity)."""
        if isinstance(layer, torch.nn.Identity):
            return x
        weights = self.constant(layer.weight), self.constant(layer.bias)
        return self.op("LayerNormalization", x, *weights, axis=-1, epsilon=layer.eps)

    def sublayer(self, x: str, norm, f) -> str:
        """x + f(norm(x)), or norm(x + f(x)) in a post-norm model."""
        if self.model.config.norm_first:
            return self.op("Add", x, f(self.norm(x, norm)))
        return self.norm(self.op("Add", x, f(x)), norm)

    def feed_forward(self, x: str, layer) -> str:
        inner = self.op("Relu", self.linear(x, layer.inner.weight, layer.inner.bias))
        return self.linear(inner, layer.outer.weight, layer.outer.bias)

    def projected(self, x: str, layer, part: int) -> str:
        """Queries (part 0), keys (1) or values (2) of an attention: (B, T, D) -> (B, H, T, D_head)."""
        rows = slice(part * self.d, (part + 1) * self.d)
        y = self.linear(x, layer.in_proj.weight[rows], layer.in_proj.bias[rows])
        apart = self.op("Reshape", y, self.constant([0, 0, self.heads, self.d // self.heads]))  # 0: as it was
        return self.op("Transpose", apart, perm=[0, 2, 1, 3])

    def attention(self, q: str, k: str, v: str, layer, hidden: str | None = None) -> str:
        """softmax(q k^T / sqrt(d) + hidden) v, heads joined by W^O. hidden: 0, or -inf where none may attend."""
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.op("Mul", scores, self.constant((self.d // self.heads) ** -0.5))
        if hidden:
            scores = self.op("Add", scores, hidden)
        out = self.op("Transpose", self.op("MatMul", self.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        joined = self.op("Reshape", out, self.constant([0, 0, self.d]))
        return self.linear(joined, layer.out_proj.weight, layer.out_proj.bias)

    def size(self, x: str, axis: int) -> str:
        return self.op("Gather", self.op("Shape", x), self.constant([axis]))

    def embedded(self, ids: str, table: str, start: str, end: str) -> str:
        """sqrt(d) times the embedding, plus the positions from start to end. (B, T) -> (B, T, D)."""
        from utils.positional import sinusoidal

        x = self.op("Mul", self.op("Gather", table, ids), self.constant(math.sqrt(self.d)))
        positions = self.constant(sinusoidal(POSITIONS, self.d))
        return self.op("Add", x, self.op("Slice", positions, start, end, self.constant([0])))

    def hidden(self, src: str) -> str:
        """What is added to the scores: -inf at <pad>. (B, S) -> (B, 1, 1, S)."""
        padding = self.op("Equal", src, self.constant(self.model.config.pad_id))
        row = self.op("Where", padding, self.constant(-math.inf), self.constant(0.0))
        return self.op("Unsqueeze", row, self.constant([1, 2]))

    def stacked(self, values: list[str], name: str) -> str:
        """One value of all layers: (L, ...)."""
        rows = [self.op("Unsqueeze", value, self.constant([0])) for value in values]
        return self.op("Concat", *rows, axis=0, name=name)

    def save(self, path: Path, inputs: dict[str, list], outputs: dict[str, list]) -> None:
        """Write the graph. inputs, outputs: name -> shape; a size that may change is a word."""
        import onnx
        from onnx import TensorProto, helper

        def described(values: dict[str, list]) -> list:
            kinds = {name: TensorProto.INT64 if name in ("src", "tokens") else TensorProto.FLOAT for name in values}
            return [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in values.items()]

        weights = list(self.weights.values())
        graph = helper.make_graph(self.nodes, path.stem, described(inputs), described(outputs), weights)
        whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(whole, full_check=True)
        onnx.save(whole, str(path))


def encoder(model, path: Path) -> None:
    """src (B, S) -> keys and values for the cross-attention of every layer of the decoder, (L, B, H, S, D_head)."""
    graph = Graph(model)
    hidden = graph.hidden("src")
    table = graph.constant(model.src_embedding.weight)
    x = graph.embedded("src", table, graph.constant([0]), graph.size("src", 1))
    for layer in model.encoder:
        attention = layer.self_attention

        def look(x, attention=attention):
            q, k, v = (graph.projected(x, attention, part) for part in range(3))
            return graph.attention(q, k, v, attention, hidden)

        x = graph.sublayer(x, layer.attention_norm, look)
        x = graph.sublayer(x, layer.ffn_norm, lambda x, layer=layer: graph.feed_forward(x, layer.feed_forward))
    memory = graph.norm(x, model.encoder_norm)
    for part, name in ((1, "keys"), (2, "values")):
        graph.stacked([graph.projected(memory, layer.cross_attention, part) for layer in model.decoder], name)
    shape = sizes(model, "source")
    graph.save(path, {"src": ["batch", "source"]}, {"keys": shape, "values": shape})


def step(model, path: Path) -> None:
    """The newest token of each row, (B,), and the cache of those before -> logits, (B, V), and the cache with it."""
    graph = Graph(model)
    hidden = graph.hidden("src")
    table = graph.constant(model.tgt_embedding.weight)  # the output layer is tied to it
    start, one = graph.size("past_keys", 3), graph.constant([1])
    ids = graph.op("Unsqueeze", "tokens", one)
    y = graph.embedded(ids, table, start, graph.op("Add", start, one))  # (B, 1, D)
    caches: dict[str, list[str]] = {"new_keys": [], "new_values": []}
    for i, layer in enumerate(model.decoder):
        at = graph.constant(i)

        def look_back(y, attention=layer.self_attention, at=at):
            q, *new = (graph.projected(y, attention, part) for part in range(3))
            before = (graph.op("Gather", past, at, axis=0) for past in ("past_keys", "past_values"))
            k, v = (graph.op("Concat", *both, axis=2) for both in zip(before, new, strict=True))
            caches["new_keys"].append(k)
            caches["new_values"].append(v)
            return graph.attention(q, k, v, attention)

        def look_over(y, attention=layer.cross_attention, at=at):
            k, v = (graph.op("Gather", memory, at, axis=0) for memory in ("keys", "values"))
            return graph.attention(graph.projected(y, attention, 0), k, v, attention, hidden)

        y = graph.sublayer(y, layer.attention_norm, look_back)
        y = graph.sublayer(y, layer.cross_attention_norm, look_over)
        y = graph.sublayer(y, layer.ffn_norm, lambda y, layer=layer: graph.feed_forward(y, layer.feed_forward))
    y = graph.op("Squeeze", graph.norm(y, model.decoder_norm), one)
    graph.op("Gemm", y, table, transB=1, name="logits")
    for name, values in caches.items():
        graph.stacked(values, name)
    memory, past, new = (sizes(model, length) for length in ("source", "past", "past + 1"))
    graph.save(
        path,
        {"tokens": ["batch"], "src": ["batch", "source"], "keys": memory, "values": memory}
        | {"past_keys": past, "past_values": past},
        {"logits": ["batch", model.config.tgt_vocab], "new_keys": new, "new_values": new},
    )


def sizes(model, length: str) -> list:
    """The shape of keys or values of all layers."""
    c = model.config
    return [len(model.decoder), "batch", c.n_heads, length, c.d_model // c.n_heads]


def write(model, tokenizer, folder: Path) -> None:
    """Write encoder.onnx and step.onnx, in float32."""
    encoder(model, folder / "encoder.onnx")
    step(model, folder / "step.onnx")
