r"""The spellings that mean the same thing, as tables.

Everything the tokenizer knows about LaTeX commands, Unicode signs and English
words is here, so that a new spelling is a new row and never a new branch.
"""

_FRACTIONS = {
    "½": "1 2", "⅓": "1 3", "⅔": "2 3", "¼": "1 4", "¾": "3 4", "⅕": "1 5", "⅖": "2 5",
    "⅗": "3 5", "⅘": "4 5", "⅙": "1 6", "⅚": "5 6", "⅛": "1 8", "⅜": "3 8", "⅝": "5 8",
    "⅞": "7 8",
}  # fmt: skip
# A run of these is one exponent, or one subscript.
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺⁽⁾ⁿⁱˣ", "0123456789-+()nix", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₋₊₍₎ₙᵢₖₓ", "0123456789-+()nikx", strict=True))
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "θ": "theta",
    "λ": "lambda", "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Δ": "Delta",
    "Σ": "Sigma", "Ω": "Omega",
}  # fmt: skip
_SIGNS = {
    "×": "*", "⋅": "*", "·": "*", "∙": "*", "∗": "*", "÷": "/", "⁄": "/", "∕": "/",
    "−": "-", "–": "-", "—": "-", "≤": "<=", "⩽": "<=", "≥": ">=", "⩾": ">=",
    "≠": "!=", "≈": "\\approx ",
    "√": "\\sqrt ", "∛": "\\sqrt[3]", "∞": "\\infty ", "∪": "\\cup ",
    "∑": "\\sum ", "∏": "\\prod ", "∫": "\\int ",
    "∩": "\\cap ", "∈": "\\in ", "±": "\\pm ", "∓": "\\mp ", "°": "\\degree ",
    "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "′": "'", "’": "'",
    "…": "\\ldots ", "⟨": "\\langle ", "⟩": "\\rangle ", "⌊": "\\lfloor ",
    "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ",
    "、": ",", "。": ".", "\u00a0": " ", "\u2009": " ",
    "\u202f": " ", "\u200b": "", "€": " euros ", "£": " gbp ", "¢": " cents ",
    "¥": " yen ", "₹": " rupees ", "₽": " rubles ", "₩": " krw ",
    "₱": " pesos ", "₫": " vnd ", "₪": " shekels ", "₺": " lira ", "฿": " baht ",
    "″": "''", "‘": "'", "「": "", "」": "", "«": "", "»": "", "✓": "", "✔": "",
    "✅": "", "■": "", "□": "", "∎": "", "“": '"',
    "”": '"', "∖": "\\setminus ", "≡": "\\equiv ", "∀": "\\forall ", "⊤": "\\top ",
    "∨": "\\lor ", "∧": "\\land ", "→": "\\to ",
}  # fmt: skip

# Unicode character -> LaTeX or ASCII.
UNICODE = str.maketrans(
    {sign: f"\\frac {pair}".replace(" ", "{", 1).replace(" ", "}{") + "}"
     for sign, pair in _FRACTIONS.items()}
    | {sign: f"\\{name} " for sign, name in _GREEK.items()}
    | {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)}  # full width
    | _SIGNS
)  # fmt: skip

# Commands that change only how the next thing looks.
FONTS = frozenset(
    "text textbf textit textrm textsf texttt textnormal textup mbox hbox mathrm mathbf "
    "mathit mathsf mathtt mathcal mathnormal boldsymbol bm operatorname emph rm "
    "underline mathfrak mathscr textsc".split()
)

# Commands that are dropped with nothing else.
SILENT = frozenset(
    "displaystyle textstyle scriptstyle limits nolimits bf it sf tt large Large "
    "LARGE small normalsize boldmath mathopen mathclose mathrel mathbin middle strut "
    "hfill par triangle checkmark huge Huge scriptsize tiny footnotesize "
    "blacksquare qed hline".split()
)

# Commands that are dropped together with the group after them.
HIDDEN = frozenset(
    "phantom hphantom vphantom hspace vspace color label tag kern hskip".split()
)

SPACES = frozenset(["quad", "qquad", ",", ";", ":", " ", ">", "enspace", "thinspace"])

# Command or word -> operator it stands for.
OPERATORS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "le": "<=", "leq": "<=",
    "leqslant": "<=", "leqq": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=",
    "geqq": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "approx": "~=",
    "simeq": "~=", "equiv": "==", "in": "in", "cup": "cup", "cap": "cap",
    "setminus": "setminus", "pm": "+-", "mp": "-+", "lor": "or", "vee": "or",
    "land": "and", "wedge": "and", "lbrace": "\\{", "rbrace": "\\}", "{": "\\{",
    "}": "\\}", "langle": "<|", "rangle": "|>", "lvert": "|", "rvert": "|",
    "vert": "|", "mid": "mid", "colon": ":", "%": "%", "degree": "deg",
    "circ": "deg", "prime": "'", "bmod": "mod", "mod": "mod", "ldots": "...",
    "dots": "...", "cdots": "...", "dotsc": "...", "lbrack": "[", "rbrack": "]",
    "lfloor": "lfloor", "rfloor": "rfloor", "lceil": "lceil", "rceil": "rceil",
    "&": "&", "_": "_", "\\": "\\\\", "|": "|", "to": "to", "rightarrow": "to",
    "choose": "choose", "over": "over", "backslash": "setminus",
    "smallsetminus": "setminus", "cr": "\\\\",
}  # fmt: skip

# Command -> the command it is another size of.
ALIASES = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom",
    "tbinom": "binom", "infinity": "infty", "inf": "infty", "varnothing": "emptyset",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot",
    "tg": "tan", "ctg": "cot", "varepsilon": "epsilon", "varphi": "phi",
    "vartheta": "theta", "surd": "sqrt", "Re": "re", "Im": "im", "bar": "overline",
    "widehat": "hat", "overrightarrow": "vec",
}  # fmt: skip

# Words and commands that are functions of what follows.
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc asin acos atan acot sinh cosh tanh ln log lg exp sqrt "
    "max min gcd lcm det abs floor ceil sgn arg re im".split()
)

GREEK = frozenset(_GREEK.values()) | frozenset(
    "eta zeta kappa nu xi iota Gamma Theta Lambda Pi Phi Psi ell hbar Xi aleph".split()
)

CONSTANTS = frozenset(["pi", "infty", "emptyset"])

# Infinity in plain text.
INFINITY = frozenset(["oo", "Infinity", "infinity", "Inf", "inf"])

# Letters of choices.
LABELS = frozenset("ABCDEFGHIJ")

# Numbered statements to choose from.
CIRCLED = frozenset("①②③④⑤⑥⑦⑧⑨⑩")

# Words that stand for an operator.
CONNECTIVES = {"and": "and", "or": "or", "to": ":", "mod": "mod"}

# Words between a name and its value.
COPULAS = frozenset(
    "is are equals was were has have had needs takes costs gets contains".split()
)

# Words before an answer that say nothing of it.
ADVERBS = frozenset(
    "so thus therefore hence then finally indeed exactly precisely ans".split()
)

# Words that open a condition of a definition by cases.
CONDITIONALS = frozenset(["if", "for", "when", "where"])

# Words that open what is said of the names in an answer: for all x, where c is real.
QUALIFIERS = frozenset(["for", "where", "with", "when", "if", "given"])
CONDITIONS = frozenset(["when", "if", "given"])  # those that have to state something

# Words that take back what they are said of.
HEDGES = frozenset(
    "not or maybe if otherwise unless either neither nor never between perhaps may "
    "might could would except but else false untrue wrong incorrect doubt doubtful "
    "unlikely possibly probably don't doesn't isn't aren't can't cannot".split()
)

# Words that make a bound of what follows: at least 5, more than 5.
BOUNDS = frozenset(
    "least most than under over below above up exceeds no less more only".split()
)

# Words that say of a name only what kind of number it is, and the kinds.
KINDS = {
    "real": "R", "reals": "R", "complex": "C", "rational": "Q", "rationals": "Q",
    "integer": "Z", "integers": "Z", "natural": "N", "naturals": "N", "whole": "Z",
}  # fmt: skip
# Spellings of one kind: whether zero is natural is left open.
DOMAINS = {
    f"field {field}": "field N" for field in ("N+", "N*", "Z+", "N_+", "Z_+", "Z_>0")
}
UNRESTRICTING = frozenset(KINDS) | frozenset(
    "all any every each some arbitrary fixed constant constants number numbers value "
    "values positive nonnegative a an the is are be and of".split()
)

# Words that open a remark in brackets: a rounding, or a reason.
ROUNDINGS = frozenset("about approximately approx around roughly nearly".split())
REASONS = frozenset(["since", "because"])
REMARKS = ROUNDINGS | REASONS

# Words and signs before what a remark says again, in other signs: (which is 6.25).
RESTATEMENTS = frozenset(
    "or = which that is equivalently equals equal to namely".split()
)

# Labels that are a sign.
OPPOSITES = (
    ("increase", "decrease"), ("profit", "loss"), ("gain", "loss"), ("left", "right"),
    ("east", "west"), ("north", "south"), ("odd", "even"), ("up", "down"),
    ("above", "below"), ("faster", "slower"), ("more", "fewer"), ("more", "less"),
)  # fmt: skip

# Words behind a value that leave open whether it is the answer.
DOUBTS = (
    HEDGES
    | ROUNDINGS
    | frozenset(
        "least most guess estimate estimated uncertain hopefully bound fails".split()
    )
)

# Commands for a number that something has: \deg P, \dim V.
MEASURES = frozenset(["deg", "dim", "rank"])

# Words behind a number that multiply it.
SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6,
    "billion": 10**9, "trillion": 10**12, "mn": 10**6, "mln": 10**6, "bn": 10**9,
    "lakh": 10**5, "crore": 10**7,
    "wan": 10**4, "yi": 10**8,
}  # fmt: skip

# Commands that are a letter.
LETTERS = {"imath": "i", "jmath": "j", "top": "T", "Pr": "P"}

# Commands that are a currency.
CURRENCIES = {
    "pounds": "gbp",
    "textsterling": "gbp",
    "euro": "euros",
    "texteuro": "euros",
    "yen": "yen",
    "textyen": "yen",
    "rupee": "rupees",
    "textdollar": "dollars",
    "cent": "cents",
    "textcent": "cents",
}

# Commands before the name of an angle.
ANGLES = frozenset(["angle", "measuredangle"])

# Words of Chinese answers -> what they say here. Counters are left out: 12 of them.
CHINESE = {
    "平方厘米": " square cm ", "平方米": " square m ", "平方千米": " square km ",
    "立方厘米": " cubic cm ", "立方米": " cubic m ", "厘米": " cm ", "毫米": " mm ",
    "分米": " dm ", "千米": " km ", "公里": " km ", "米": " m ", "千克": " kg ",
    "公斤": " kg ", "毫克": " mg ", "克": " g ", "吨": " tons ", "毫升": " mL ",
    "升": " L ", "小时": " hours ", "分钟": " minutes ", "秒": " seconds ",
    "天": " days ", "左右": " approximately ", "以上": " at least ",
    "以下": " at most ", "有": "", "选项": "", "故选": "",
    "选": "", "毛": " jiao ", "元": " yuan ",
    "度": " degrees ", "万": " wan ", "亿": " yi ",
    "或": " or ", "和": " and ", "且": " and ", "无解": " no solution ",
    "一共": "", "共有": "", "共": "", "是": "",
}  # fmt: skip

# Words behind a value that change it, and are no label of what it counts.
ARITHMETIC = frozenset(
    "squared cubed factorial inverse reciprocal doubled tripled halved plus minus "
    "divided zero recurring repeating".split()
)

# Words that do so alone, or before "of": 2 thirds of it, but 3 third-graders.
PARTS = frozenset(
    "half halves third thirds quarter fourth fourths fifth fifths sixth sixths seventh "
    "sevenths eighth eighths ninth ninths tenth tenths eleventh elevenths twelfth "
    "twelfths hundredth hundredths thousandth thousandths negative below gross".split()
)

# Words too short to be told from products of variables otherwise.
WORDS = frozenset(
    "no yes odd not per old one two six ten all any the none true ways of is are for "
    "where with".split()
)

# Number words, as the subscript of a base.
NUMBERS = dict(
    zip(
        "two three four five six seven eight nine ten eleven twelve".split(),
        range(2, 13),
        strict=True,
    )
) | {"sixteen": 16}

# Environments whose rows are the members of a list, and & merely aligns.
SYSTEMS = frozenset("cases aligned align gathered gather split eqnarray".split())
