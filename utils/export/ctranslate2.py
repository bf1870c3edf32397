"""The model as CTranslate2 describes one: every name of ours at its place there. Needs numpy and ctranslate2 alone."""

from pathlib import Path


def write(model, tokenizer, folder: Path) -> None:
    """Write model.bin and what belongs to it, in float32: CTranslate2 makes 8-bit numbers of it when it loads it."""
    from utils.positional import sinusoidal

    weights = {name: w.numpy() for name, w in model.state_dict().items()}
    weights["positions"] = sinusoidal(512, model.config.d_model).numpy()
    src_tokens = tokenizer.src_tokens(list(range(tokenizer.src_vocab)))
    tgt_tokens = tokenizer.tgt_tokens(list(range(tokenizer.tgt_vocab)))
    spec = specification(weights, vars(model.config), src_tokens, tgt_tokens)
    spec.optimize()  # tied weights are written once
    spec.save(str(folder))


def specification(weights: dict, sizes: dict, src_tokens: list[str], tgt_tokens: list[str]):
    """The Transformer with these weights (NumPy), `positions` among them. sizes: a ModelConfig's fields."""
    from ctranslate2.specs import TransformerSpec

    layers = sizes["n_layers"], sizes.get("decoder_layers") or sizes["n_layers"]
    d, pre_norm = sizes["d_model"], sizes.get("norm_first", True)
    spec = TransformerSpec.from_config(layers, sizes["n_heads"], pre_norm=pre_norm)

    def linear(to, name, rows=slice(None)):
        to.weight, to.bias = weights[f"{name}.weight"][rows], weights[f"{name}.bias"][rows]

    def norm(to, name):
        to.gamma, to.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    for stack, name in ((spec.encoder, "encoder"), (spec.decoder, "decoder")):
        if pre_norm:
            norm(stack.layer_norm, f"{name}_norm")
        stack.position_encodings.encodings = weights["positions"]
        for i, layer in enumerate(stack.layer):
            ours = f"{name}.{i}"
            linear(layer.self_attention.linear[0], f"{ours}.self_attention.in_proj")
            linear(layer.self_attention.linear[1], f"{ours}.self_attention.out_proj")
            norms = {"attention_norm": layer.self_attention, "ffn_norm": layer.ffn}
            if name == "decoder":
                norms["cross_attention_norm"] = layer.attention
                linear(layer.attention.linear[0], f"{ours}.cross_attention.in_proj", slice(0, d))
                linear(layer.attention.linear[1], f"{ours}.cross_attention.in_proj", slice(d, None))
                linear(layer.attention.linear[2], f"{ours}.cross_attention.out_proj")
            linear(layer.ffn.linear_0, f"{ours}.feed_forward.inner")
            linear(layer.ffn.linear_1, f"{ours}.feed_forward.outer")
            for name_of_norm, sublayer in norms.items():
                norm(sublayer.layer_norm, f"{ours}.{name_of_norm}")
    spec.encoder.embeddings[0].weight = weights["src_embedding.weight"]
    spec.decoder.embeddings.weight = weights["tgt_embedding.weight"]
    spec.decoder.projection.weight = weights["tgt_embedding.weight"]  # tied
    spec.register_source_vocabulary(src_tokens)
    spec.register_target_vocabulary(tgt_tokens)
    spec.config.bos_token = spec.config.decoder_start_token = "<bos>"
    spec.config.eos_token, spec.config.unk_token = "<eos>", "<unk>"
    spec.config.add_source_bos = spec.config.add_source_eos = False  # our source ids end in <eos>
    spec.validate()
    return spec
