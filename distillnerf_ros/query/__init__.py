"""Questions to a field: what is occupied, by what, and where a text or patch is answered."""
