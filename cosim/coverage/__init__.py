"""Fault coverage: how much a set of vectors proves of a network that computes right on all of them.

A *fault* is one small error somewhere in a network (:mod:`~xnorflow.cosim.coverage.faults`). Vectors *show* it where
the faulty network gives another integer at a result that is compared. Which faults they show is computed exactly
(:mod:`~xnorflow.cosim.coverage.simulation`); a fault that no vector at all can show is *redundant*, and counted apart
where that is proved (:mod:`~xnorflow.cosim.coverage.redundancy`)::

    coverage = shown / (faults - redundant)

:mod:`~xnorflow.cosim.coverage.measure` counts, and :mod:`~xnorflow.cosim.coverage.vectors` chooses vectors that show
much, and makes more. All are functions of a Network and vectors alone.
"""
