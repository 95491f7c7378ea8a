"""Matrix products of PyTorch (cuBLAS), timed as bench:gemm times ours.

    python3 bench/rivals/torch_gemm.py --json torch.json

needs a GPU and PyTorch 2.5 or newer. Writes rows of `format` (f16, bf16, fp8, int8), `variant`, `n`, `k`, `tokens` and `us`:
microseconds of one product in a CUDA graph of products whose weights take turns, the median of some replays. `--serve`
reads lines `TOKENS FILE` instead and answers `done` after each, so that another program can take turns with it.
"""

import argparse
import json
import statistics
import sys
import time

import torch

LAYER = "6144x4096,4096x4096,28672x4096,4096x14336"
TOKENS = "1,16,64,128,256,512,1024,4096"
ROTATION = 400e6
MOST_COPIES = 64
REPLAYS = 5
LEAST_SECONDS, MOST_SECONDS = 1e-3, 3.6e-3


def halves(dtype):
    def make(m, n, k):
        x = torch.randn(m, k, device="cuda", dtype=dtype)
        weights = [0.02 * torch.randn(n, k, device="cuda", dtype=dtype) for _ in range(copies(2 * n * k))]
        out = torch.empty(m, n, device="cuda", dtype=dtype)
        return [lambda w=w: torch.mm(x, w.t(), out=out) for w in weights]

    return make


def floats8(rowwise):
    def make(m, n, k):
        x = torch.randn(m, k, device="cuda").to(torch.float8_e4m3fn)
        weights = [
            torch.randn(n, k, device="cuda", dtype=torch.float16).to(torch.float8_e4m3fn) for _ in range(copies(n * k))
        ]
        one = lambda *shape: torch.full(shape, 0.01, device="cuda", dtype=torch.float32)
        scales = dict(scale_a=one(m, 1), scale_b=one(1, n)) if rowwise else dict(scale_a=one(), scale_b=one())
        # Its row-wise scaling gives bf16 alone.
        out = torch.bfloat16 if rowwise else torch.float16
        return [
            lambda w=w: torch._scaled_mm(x, w.t(), out_dtype=out, use_fast_accum=True, **scales) for w in weights
        ]

    return make


def integers(m, n, k):
    if m <= 16:
        raise RuntimeError("_int_mm takes more than 16 tokens")
    draw = lambda *shape: (36 * torch.randn(shape, device="cuda")).round().clamp(-127, 127).to(torch.int8)
    x, weights = draw(m, k), [draw(n, k) for _ in range(copies(n * k))]
    out = torch.empty(m, n, device="cuda", dtype=torch.int32)
    return [lambda w=w: torch._int_mm(x, w.t(), out=out) for w in weights]


KINDS = [
    ("f16", None, halves(torch.float16)),
    ("bf16", None, halves(torch.bfloat16)),
    ("fp8", "tensorwise", floats8(False)),
    ("fp8", "rowwise", floats8(True)),
    ("int8", None, integers),
]


def copies(weight_bytes):
    return min(MOST_COPIES, max(1, -(-int(ROTATION) // weight_bytes)))


def graph_seconds(products, count, replays):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            products[i % len(products)]()
    graph.replay()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(replays + 1)]
    events[0].record()
    for event in events[1:]:
        graph.replay()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1000 / count for a, b in zip(events, events[1:])]


def microseconds(products, pause):
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for product in products[:2]:
            product()
    torch.cuda.synchronize()
    estimate = min(graph_seconds(products, 8, 2))
    turn = len(products)
    wanted = turn * -(-int(LEAST_SECONDS / estimate + 1) // turn)
    count = min(max(1, int(MOST_SECONDS / estimate)), wanted)
    time.sleep(pause / 1000)
    return 1e6 * statistics.median(graph_seconds(products, count, REPLAYS))


def measure(shapes, tokens, pause):
    rows = []
    for n, k in shapes:
        for name, variant, make in KINDS:
            row = dict(source="cublas", format=name, group=0, variant=variant, n=n, k=k, tokens=tokens)
            try:
                us = microseconds(make(tokens, n, k), pause)
            except (RuntimeError, TypeError) as error:
                print(f"{name} {n}x{k}, {tokens} tokens: {str(error).splitlines()[0]}", file=sys.stderr)
                continue
            rows.append(dict(row, us=round(us, 3), usChained=None))
    return rows


def write(path, rows):
    header = dict(device=torch.cuda.get_device_name(), torch=torch.__version__)
    with open(path, "w") as file:
        json.dump(dict(header, rows=rows), file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=LAYER, help="features x columns")
    parser.add_argument("--tokens", default=TOKENS)
    parser.add_argument("--json", default="torch.json")
    parser.add_argument("--pause", type=float, default=30, help="milliseconds of rest before each measurement")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    shapes = [tuple(int(extent) for extent in shape.split("x")) for shape in options.shapes.split(",")]
    torch.mm(torch.ones(8, 8, device="cuda"), torch.ones(8, 8, device="cuda"))
    if options.serve:
        print("ready", flush=True)
        for line in sys.stdin:
            tokens, path = line.split(maxsplit=1)
            write(path.strip(), measure(shapes, int(tokens), options.pause))
            torch.cuda.empty_cache()
            print("done", flush=True)
        return
    rows = []
    for tokens in sorted(int(count) for count in options.tokens.split(",")):
        rows += measure(shapes, tokens, options.pause)
        for row in rows[-len(shapes) * len(KINDS) :]:
            if row["tokens"] == tokens:
                print(row["format"], row["variant"] or "", f'{row["n"]}x{row["k"]}', tokens, row["us"])
    write(options.json, rows)


main()
