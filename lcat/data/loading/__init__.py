"""Mini-batches: samplers, loaders, subgraphs."""
