"""Formulas with numbers, written as text, as LaTeX and as MathML.

Who shows a formula says once, to a `Style`, what it consists of; each style decides how
that looks. Indices are letters or digits, one each: what the letters stand for is said
beside the formula.
"""

from abc import ABC, abstractmethod

#: Names of symbols that are letters of the Greek alphabet.
GREEK = ("alpha", "delta")


def six_digits(value):
    """A number as this package shows it to people."""
    return f"{value + 0.0:.6g}"  # -0.0 is 0


class Style(ABC):
    """How formulas are written: what every style has, and what each decides."""

    plus: str
    times: str

    @abstractmethod
    def symbol(self, name, layer=None, indices=""):
        """name with the layer above and the indices below."""

    @abstractmethod
    def partial(self, top, bottom):
        """The derivative of top in bottom."""

    @abstractmethod
    def fraction(self, top, bottom):
        """top / bottom."""

    @abstractmethod
    def number(self, value):
        """A number to six digits."""

    @abstractmethod
    def group(self, inner):
        """inner in parentheses."""

    @abstractmethod
    def sum_over(self, index, inner):
        """The sum of inner over an index."""

    @abstractmethod
    def mean_over(self, index, inner):
        """The mean of inner over an index."""

    @abstractmethod
    def rest(self, count, value):
        """The sum of so many terms that are not shown one by one."""

    @abstractmethod
    def equations(self, left, rights):
        """left = rights[0] = rights[1] = ..., below each other."""

    @abstractmethod
    def display(self, blocks):
        """Several `equations`, one after the other."""

    def operand(self, value):
        """A number after a sign: a negative one in parentheses."""
        return self.group(self.number(value)) if value < 0 else self.number(value)

    def product(self, values):
        """Numbers as factors."""
        first, *others = values
        return self.times.join([self.number(first), *map(self.operand, others)])

    def sum_of_products(self, pairs):
        """Products of two numbers each, as summands."""
        first, *others = pairs
        written = (self.times.join(map(self.operand, pair)) for pair in others)
        return self.plus.join([self.product(first), *written])


class Text(Style):
    """Plain text: dC_0/dw^2_jk."""

    plus, times = " + ", " · "

    def symbol(self, name, layer=None, indices=""):
        upper = "" if layer is None else f"^{layer}"
        return f"{name}{upper}_{indices}" if indices else f"{name}{upper}"

    def partial(self, top, bottom):
        return f"d{top}/d{bottom}"

    def fraction(self, top, bottom):
        return f"{top}/{bottom}"

    def number(self, value):
        return six_digits(value)

    def group(self, inner):
        return f"({inner})"

    def sum_over(self, index, inner):
        return f"sum_{index} {inner}"

    def mean_over(self, index, inner):
        return f"mean_{index} {inner}"

    def rest(self, count, value):
        return f"[{count} more: {self.number(value)}]"

    def equations(self, left, rights):
        heads = [left] + [" " * len(left)] * (len(rights) - 1)
        return "\n".join(f"{h} = {r}" for h, r in zip(heads, rights, strict=True))

    def display(self, blocks):
        return "\n".join(blocks)


class Latex(Style):
    r"""LaTeX: \frac{\partial C_0}{\partial w^{2}_{jk}}."""

    plus, times = " + ", r" \cdot "

    def symbol(self, name, layer=None, indices=""):
        name = f"\\{name}" if name in GREEK else name
        upper = "" if layer is None else f"^{{{layer}}}"
        return f"{name}{upper}_{{{indices}}}" if indices else f"{name}{upper}"

    def partial(self, top, bottom):
        return self.fraction(rf"\partial {top}", rf"\partial {bottom}")

    def fraction(self, top, bottom):
        return rf"\frac{{{top}}}{{{bottom}}}"

    def number(self, value):
        digits, _, exponent = six_digits(value).partition("e")
        words = {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\text{nan}"}
        digits = words.get(digits, digits)
        return rf"{digits} \cdot 10^{{{int(exponent)}}}" if exponent else digits

    def group(self, inner):
        return rf"\left({inner}\right)"

    def sum_over(self, index, inner):
        return rf"\sum_{index} {inner}"

    def mean_over(self, index, inner):
        return rf"\operatorname{{mean}}_{index} {inner}"

    def rest(self, count, value):
        return rf"\left[\text{{{count} more: }} {self.number(value)}\right]"

    def equations(self, left, rights):
        heads = [left] + [""] * (len(rights) - 1)
        rows = (f"{h} &= {r}" for h, r in zip(heads, rights, strict=True))
        return r"\begin{aligned} " + r" \\ ".join(rows) + r" \end{aligned}"

    def display(self, blocks):
        return r"$\begin{gathered} " + r" \\ ".join(blocks) + r" \end{gathered}$"


class MathML(Style):
    """MathML, which browsers draw by themselves."""

    plus, times = "<mo>+</mo>", "<mo>·</mo>"

    def symbol(self, name, layer=None, indices=""):
        base = f"<mi>&{name};</mi>" if name in GREEK else f"<mi>{name}</mi>"
        lower = "".join(f"<mi>{letter}</mi>" for letter in indices)
        upper = "" if layer is None else f"<mn>{layer}</mn>"
        if lower and upper:
            return f"<msubsup>{base}<mrow>{lower}</mrow>{upper}</msubsup>"
        if lower:
            return f"<msub>{base}<mrow>{lower}</mrow></msub>"
        return f"<msup>{base}{upper}</msup>" if upper else base

    def partial(self, top, bottom):
        return self.fraction(f"<mo>&part;</mo>{top}", f"<mo>&part;</mo>{bottom}")

    def fraction(self, top, bottom):
        return f"<mfrac><mrow>{top}</mrow><mrow>{bottom}</mrow></mfrac>"

    def number(self, value):
        return f"<mn>{six_digits(value)}</mn>"

    def group(self, inner):
        return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"

    def sum_over(self, index, inner):
        return f"<munder><mo>&sum;</mo><mi>{index}</mi></munder>{inner}"

    def mean_over(self, index, inner):
        return f"<munder><mi>mean</mi><mi>{index}</mi></munder>{inner}"

    def rest(self, count, value):
        more = f"<mtext>{count} more: </mtext>"
        return f"<mo>[</mo>{more}{self.number(value)}<mo>]</mo>"

    def equations(self, left, rights):
        heads = [left] + [""] * (len(rights) - 1)
        rows = "".join(
            f'<mtr><mtd style="text-align: right">{head}</mtd><mtd><mo>=</mo></mtd>'
            f'<mtd style="text-align: left">{right}</mtd></mtr>'
            for head, right in zip(heads, rights, strict=True)
        )
        table = f'<mtable displaystyle="true">{rows}</mtable>'
        return f'<div style="overflow: auto hidden"><math>{table}</math></div>'

    def display(self, blocks):
        return "".join(blocks)
