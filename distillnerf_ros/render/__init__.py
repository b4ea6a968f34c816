"""Rendering of any field along rays: sampling, compositing, decoding."""
