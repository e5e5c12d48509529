"""GCN, GAT, GATv2, CAT and L-CAT on ogbn-products: ten seeds, and the block that the leaderboard asks for.

    python benchmarks/ogb/products.py --layer lcat
    python benchmarks/ogb/products.py --layer gat --heads 1
    python benchmarks/ogb/products.py --layer gat --stand-in --epochs 5 --seeds 0-2      # a small generated graph
    torchrun --nproc-per-node 4 benchmarks/ogb/products.py --layer gatv2

2,449,029 products, 61,859,140 undirected edges, 47 classes; accuracy, split by sales rank.

Defaults: 3 layers of width 128, linear residuals, ELU, dropout 0.5, Adam at 0.001, 100 epochs of batches of 256 nodes
and 10 neighbors a hop; evaluation on the whole graph every 10 epochs, after the first half.
The model that validates best is measured; no labels as input, no averaged weights, unless asked for. An interrupted
run continues with the same command. All options: --help.
"""

from lcat.ogb import main

if __name__ == "__main__":
    main("ogbn-products")
