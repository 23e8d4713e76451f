"""Cases of one operator each: attributes, types, ranks, edge values, opsets, surroundings."""
