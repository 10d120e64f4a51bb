"""How Meta's files of a Llama lie: names, shapes, and how shards cut them.
Standard library alone."""

# Cut along their rows; the other matrices are cut along their columns, and what
# has one axis is repeated in every file.
CUT_ROWS = ("wq", "wk", "wv", "w1", "w3", "output")
FILE_NAME = "consolidated.{:02}.pth"


def parameter_shapes(params, hidden_dim, vocab):
    """Name -> shape of every parameter, in the order of Meta's files."""
    dim, heads = params["dim"], params["n_heads"]
    head_dim = params.get("head_dim", dim // heads)
    kv_rows = params.get("n_kv_heads", heads) * head_dim
    shapes = {"tok_embeddings.weight": (vocab, dim)}
    layer = {
        "attention.wq.weight": (heads * head_dim, dim),
        "attention.wk.weight": (kv_rows, dim),
        "attention.wv.weight": (kv_rows, dim),
        "attention.wo.weight": (dim, heads * head_dim),
        "feed_forward.w1.weight": (hidden_dim, dim),
        "feed_forward.w2.weight": (dim, hidden_dim),
        "feed_forward.w3.weight": (hidden_dim, dim),
        "attention_norm.weight": (dim,),
        "ffn_norm.weight": (dim,),
    }
    for i in range(params["n_layers"]):
        shapes |= {f"layers.{i}.{name}": s for name, s in layer.items()}
    return shapes | {"norm.weight": (dim,), "output.weight": (vocab, dim)}


def cut_axis(name, rank, vocab_rows=False):
    """The axis along which shards cut a parameter; None: all have the whole.
    With `vocab_rows`, as Llama 3 has it, the embedding is cut by tokens."""
    if rank < 2:
        return None
    module = name.split(".")[-2]
    by_rows = module in CUT_ROWS or (vocab_rows and module == "tok_embeddings")
    return 0 if by_rows else 1
