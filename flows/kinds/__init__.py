"""What a flow must know of each engine, a module each; :data:`xnorflow.flows.engines.ENGINES` has them all."""
