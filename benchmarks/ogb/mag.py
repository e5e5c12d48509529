"""GCN, GAT, GATv2, CAT and L-CAT on ogbn-mag: ten seeds, and the block that the leaderboard asks for.

    python benchmarks/ogb/mag.py --layer lcat
    python benchmarks/ogb/mag.py --layer gat --optimizer pogo
    python benchmarks/ogb/mag.py --layer gat --stand-in --epochs 5 --seeds 0-2      # a small generated graph
    torchrun --nproc-per-node 4 benchmarks/ogb/mag.py --layer gatv2

736,389 papers and their 5,416,271 citations made undirected, 349 venues; accuracy, split by year.

Of the four kinds of nodes only papers are used, as in GATv2's experiments. Defaults: 2 layers of width 256, layer norm,
dropout 0.5, Adam at 0.01, 100 epochs of batches of 20,000 nodes and 10 neighbors a hop; evaluation on the whole graph.
The model that validates best is measured; no labels as input, no averaged weights, unless asked for. An interrupted
run continues with the same command. All options: --help.
"""

from lcat.ogb import main

if __name__ == "__main__":
    main("ogbn-mag")
