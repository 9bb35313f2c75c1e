"""Reference answers of every kind, for tests that run without the real sets."""

GOLDS = {
    "integer": [
        "7", "12", "42", "-3", "120", "1024", "20000", "-27", "6", "24", "3720087",
        "123456789012345678901", "1,234", "12{,}345", "5,\\!866,\\!608", "36", "2",
        "100",
    ],
    "fraction": [
        r"\frac{1}{2}", r"\frac{3}{4}", r"-\frac{7}{3}", r"\dfrac{22}{7}", "3/4",
        "-5/12",
        r"\frac{355}{113}", r"\tfrac{1}{6}", r"3\frac{1}{2}", r"\frac{-4}{9}",
        r"0.\overline{3}", r"\frac{1013}{990}",
    ],
    "decimal": ["0.5", "12.5", ".175", "-148.15", "3.14", "0.375", "5.3e-9", "2.50"],
    "root": [
        r"\sqrt{2}", r"2\sqrt{3}", r"\frac{\sqrt{3}}{3}", r"\sqrt[3]{5}",
        r"3-2\sqrt{2}",
        r"\sqrt{2+\sqrt{3}}", r"\frac{5\sqrt{34}}{34}", r"\frac{1+\sqrt{5}}{2}",
    ],
    "constant": [
        r"\pi", r"2\pi", r"\frac{\pi}{6}", r"32\pi-64", r"e^2", r"\frac{1}{2}\ln 3",
        r"1+2i", r"-3i", r"e^{-1}", r"\log_2 5", r"\frac{2\pi}{3}+\sqrt{3}",
    ],
    "power": [
        "2^{10}", "10^{23}", "7!", r"\binom{10}{3}", r"2^{5}-1", r"\frac{27!}{9!}",
        "1991^2", r"3\cdot 2^{4}", r"6.02\times 10^{23}",
    ],
    "expression": [
        "2x+1", "x^2-5x+6", r"\frac{x+1}{x-1}", r"n(n+1)", r"\frac{n(n+1)}{2}",
        r"2^{n}-1", r"a^2+b^2", r"x\sqrt{y}", r"\frac{2k}{k+1}", r"\sin x", r"-x_1+x_2",
        r"3x^{2}y", r"e^{2x}", r"(x-1)(x+2)", r"\frac{1}{3}E_{1}+\frac{2}{3}E_{2}",
    ],
    "named": ["x = 5", "y = 2x+1", r"x=\frac{3}{4}", "n = 12", "f(2) = 5", r"k=-2"],
    "equation": [
        "x+y=5", "x^2+y^2=25", "2x-y+2z-18=0", r"y^2=4x", r"\frac{x^2}{4}+y^2=1",
    ],
    "inequality": [
        "x>3", r"x \le -2", r"1<x<4", r"-3\leq t<2", "m \\neq 1", r"a \geq \frac{1}{2}",
    ],
    "interval": [
        "[0,1)", r"(-\infty,5)", r"[2,\infty)", r"(0,1)\cup(2,3]", r"[-3,-1]",
        r"\left(-\infty,-2\right]\cup[2,\infty)", r"(-1,4]",
        r"(-\infty,1)\cup(1,\infty)",
    ],
    "point": [
        "(1,2)", "(7,6)", "(-4, 9)", "(1,2,3)", r"\left(\frac{1}{2},-3\right)",
        r"\left(3,\frac{\pi}{2}\right)", "(2,-1)", "(995,1),(176,10)",
    ],
    "named point": ["(x,y)=(1,2)", "x=1,y=2", "a=4, b=7", "(m,n)=(3,5)"],
    "list": [
        "1,2", "4,6,14,15", "-1, 3", r"\frac{1}{2}, 2", r"2 \text{ or } 5",
        "3 and 8",
    ],
    "set": [r"\{1,2,3\}", r"\{-1,4\}", r"\left\{\frac{1}{2},3\right\}", r"\{0,5,7,9\}"],
    "plus-minus": [r"\pm 3", r"1\pm\sqrt{2}", r"\frac{1\pm\sqrt{5}}{2}"],
    "matrix": [
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        r"\begin{pmatrix} 4 \\ -3 \end{pmatrix}",
        r"\begin{pmatrix} 1 \\ -2 \\ 3 \end{pmatrix}",
        r"\begin{bmatrix} 0 & 1 & 5 \\ 2 & 7 & -1 \end{bmatrix}",
    ],
    "unit": [
        r"54\text{ gallons}", r"6\text{ ways}", r"17\text{ meters}", r"20\text{ cm}",
        r"450 \mathrm{~cm}^{2}", r"2\text{ hours}", r"180\text{ miles}", "3/4 cups",
        r"12 \text{ square units}", r"7\text{ distinct integers}", r"4\text{ units}",
        r"65\text{ miles per hour}", r"8^2\text{ tiles}", r"5\text{ m}^2",
    ],
    "angle": [r"60^\circ", r"45^{\circ}", r"72.5^\circ", r"120\text{ degrees}"],
    "percent": [r"20\%", r"4.8\%", r"90.91\%", r"50\%"],
    "currency": [r"\$150", r"\$2.60", r"118 \text{ dollars}", r"\$5 million"],
    "base": ["304_7", "10000_2", "2302_{5}"],
    "ratio": ["5:3", "1:36", r"3:4:5"],
    "time": ["4:30", r"5:05 \text{ p.m.}"],
    "choice": ["B", r"\text{(C)}", "(D)", r"\text{A}"],
    "words": [
        r"\text{even}", r"\text{Evelyn}", "Monday", r"\text{no}", "increasing",
        r"\text{all real numbers}",
    ],
    "parity": ["(-1)^n", r"\frac{1-(-1)^n}{2}", "n(-1)^{n}"],
    "builder": [
        r"\{x \in \mathbb{Z} \mid x > 1\}", r"\{z \in \mathbb{C} \mid |z| \leq 1\}",
    ],
    "chain of numbers": [r"\frac{19}{15}<\frac{17}{13}<\frac{15}{11}"],
    "letters": [
        "MR=SRMC", "odd n<9", r"7 minutes and 5 seconds", "|x| < 3", "|m-n|",
        "Alice: 5, Bob: 6", "f(n) = -2n", r"\theta \in [0,1) \cup (1,2]", r"\sqrt{x+4}",
    ],
    "series": [r"\sum_{k=1}^{n} k^2", r"\lfloor n/2 \rfloor", r"n \geq 2^k+1"],
    "number system": [r"\mathbb{R}", r"\mathbb{Z}", r"\emptyset", r"\infty"],
}  # fmt: skip


def everything():
    """Returns every gold once, in order."""
    return [gold for golds in GOLDS.values() for gold in golds]
