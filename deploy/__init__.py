"""How the programs are run elsewhere; and what looks at that."""
