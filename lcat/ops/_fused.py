"""What the fused implementations share, and the functions that each of them offers.

``native.py`` (compiled CPU kernels) and ``triton.py`` (GPU kernels) in the folder of a primitive offer the
same functions, so that one ``torch.library`` operator can stand on both:

``aggregate``::

    forward(x, weight, csr, num_targets) -> out
    weight_grad(grad, x, csr, heads_in_weight) -> d_weight

``attend_v1``::

    forward(s, t, v, edge_score, edge_weight, csr, slope, dropout, seed, keep_positive)
        -> (out, lse, positive, positive_mass)
    backward(grad, s, t, v, edge_score, edge_weight, out, lse, positive, positive_mass, csr, csc, slope,
             dropout, seed, needs) -> (ds, dt, dv, d_edge_score, d_edge_weight)

``attend_v2``::

    forward(k, q, v, att, edge_attr, edge_matrix, edge_weight, csr, slope, dropout, seed) -> (out, lse)
    backward(grad, k, q, v, att, edge_attr, edge_matrix, edge_weight, out, lse, csr, csc, slope, dropout,
             seed, needs) -> (dk, dq, dv, datt, d_edge_attr, d_edge_matrix, d_edge_weight)

Arguments, all contiguous, all on one device:

- ``x``, ``k``, ``v`` are ``[N_source, H, F]``; ``q``, ``grad``, ``out`` and ``positive`` ``[N_target, H, F]``; ``s``
  is ``[N_source, H]``; ``t``, ``lse`` and ``positive_mass`` ``[N_target, H]``; ``att`` is ``[H, F]``; ``weight`` is
  ``[E]`` or ``[E, H]``; ``edge_score`` ``[E, H]``; ``edge_weight`` ``[E]``; ``edge_attr`` ``[E, D]`` and ``edge_matrix``
  ``[H * F, D]`` with ``D <= 16`` (``edge_attr @ edge_matrix.T`` is added to ``k_j + q_i``). Of ``t``, ``edge_score``,
  ``weight``, ``edge_weight`` and the pair ``edge_attr``, ``edge_matrix`` each may be ``None``.
- In ``attend_v2``, ``v=None`` means that the keys are the values: one gather serves both, ``dk`` is the whole
  gradient of that tensor and ``dv`` is ``None``. Otherwise ``v`` has the shape of ``k``.
- ``csr`` and ``csc`` are :class:`lcat.graph.SortedEdges`, the graph grouped by target and by source. ``other`` and
  ``edge`` are int32 where all counts are below 2**31 and the call is not traced, else int64; ``pointer`` is
  int64. Slots from ``pointer[-1]`` on are dead: no kernel may count on them, and per-edge gradients of dead
  edges are 0. The transposed ``aggregate.forward(grad, weight, csc, num_sources)`` is the gradient of ``x``.
- ``dropout`` is a float in [0, 1]. Its mask depends on ``seed`` (int64 tensor of one element; ``None`` if
  ``dropout`` is 0), on the edge and on the head only, so that no pass needs to store it: with
  ``i = edge * H + h`` (``edge`` is the value of ``csr.edge`` or ``csc.edge``, that is the row of per-edge tensors),
  take word ``i % 4`` of Philox 4x32-10 with counter words ``(lo32(i // 4), hi32(i // 4), 0, 0)`` and key words
  ``(lo32(seed), hi32(seed))``; the coefficient is kept, and multiplied by ``1 / (1 - dropout)``, if that uint32
  is at least ``floor(dropout * 2**32)``. ``dropout == 1`` drops all.
- ``keep_positive`` asks for ``positive`` (the part of ``out`` from edges whose score before the LeakyReLU is
  above 0) and ``positive_mass`` (the softmax mass of these edges, before dropout and weight), from which the
  backward pass gets ``dt = (1 - slope) * (<grad, positive> - <grad, out> * positive_mass)`` without visiting
  the edges by target. Without ``keep_positive`` both are ``None``.
- ``needs`` has one bool for each gradient returned, in their order; where it is False, ``None`` is returned.

Types: floating point arguments may be of different types. Sums are made in float32, or float64 if ``x`` or
``v`` (``k``) is float64. ``aggregate`` returns the type of ``x`` (``weight_grad`` likewise); ``out``, ``lse``,
``positive`` and ``positive_mass`` are float32 (float64 for float64 input) also for half-precision input, because
a backward pass from a rounded ``out`` is wrong in the third digit; gradients have the type of their argument.
Rows without in-edges give ``out = 0`` and ``lse = 0``.
"""
