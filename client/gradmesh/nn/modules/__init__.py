"""Layers, losses and containers, by family."""
