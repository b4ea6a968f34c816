"""Things that stand, drive and walk in the world, each a composite of solids."""
