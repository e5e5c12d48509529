"""GCN, GAT, GATv2, CAT and L-CAT on ogbn-proteins: ten seeds, and the block that the leaderboard asks for.

    python benchmarks/ogb/proteins.py --layer lcat
    python benchmarks/ogb/proteins.py --layer gat --no-edge-features
    python benchmarks/ogb/proteins.py --layer gat --stand-in --epochs 5 --seeds 0-2      # a small generated graph
    torchrun --nproc-per-node 4 benchmarks/ogb/proteins.py --layer gatv2

132,534 proteins, 39,561,252 undirected edges with 8 features, 112 yes-or-no tasks; ROC-AUC, split by species.

Nodes have no features of their own: they get the sum of their edges'. Attention layers read the edges' features as
well (GCN: their mean as weight). Defaults: 6 layers of width 64 between linear maps, batch norm, residuals, dropout
0.25, AdamW at 0.01, 1200 epochs of 10 batches with 16 neighbors a hop; evaluation on the whole graph every 5 epochs.
The model that validates best is measured; no labels as input, no averaged weights, unless asked for. An interrupted
run continues with the same command. All options: --help.
"""

from lcat.ogb import main

if __name__ == "__main__":
    main("ogbn-proteins")
