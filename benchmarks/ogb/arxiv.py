"""GCN, GAT, GATv2, CAT and L-CAT on ogbn-arxiv: ten seeds, and the block that the leaderboard asks for.

    python benchmarks/ogb/arxiv.py --layer lcat
    python benchmarks/ogb/arxiv.py --layer gat --batching full --epochs 500 --lr 0.002
    python benchmarks/ogb/arxiv.py --layer gat --stand-in --epochs 5 --seeds 0-2      # a small generated graph
    torchrun --nproc-per-node 4 benchmarks/ogb/arxiv.py --layer gatv2

169,343 papers, 1,166,243 citations made undirected, 40 classes; accuracy, split by year.

Defaults: 3 layers of width 256, layer norm, residuals, dropout 0.25, Adam at 0.01, 50 epochs of 30 batches of random
walks (20,000 roots, 3 steps); evaluation on the whole graph. The graph also fits whole into a step: --batching full.
The model that validates best is measured; no labels as input, no averaged weights, unless asked for. An interrupted
run continues with the same command. All options: --help.
"""

from lcat.ogb import main

if __name__ == "__main__":
    main("ogbn-arxiv")
