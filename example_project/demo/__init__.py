"""The demonstration that ``make demo`` runs: the shop, two workers, and one of them is killed."""
