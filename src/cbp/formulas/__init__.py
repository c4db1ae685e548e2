"""Derivatives as people read them: formulas with their numbers, and tables.

    chain_rule  the derivative in one weight, factor by factor
    in_words    its title, its table, its equations
    formula     text, LaTeX and MathML
    tables      tables as text and as HTML

At the bottom: nothing here knows of networks, and `import cbp` leaves it for the first
use.
"""
