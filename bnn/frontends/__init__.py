"""From a trained model to a Network, one module per framework; each is imported only when it is needed."""
