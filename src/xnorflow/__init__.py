"""xnorflow: from a trained binary neural network to hardware that computes exactly the same integers.

The packages lie at the top level of the repository, where people look for them; the links beside this file put them
into this package, so that everything is imported as ``xnorflow.<folder>``.
"""
