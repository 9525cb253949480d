r"""Writes formulas (LaTeX) as plain signs, because Discord does not render them: ``x^2`` becomes ``x²``.

Only text between the marks of a formula is rewritten: ``\( \)``, ``\[ \]``, ``$$ $$``, and ``$ $`` around
what looks like a formula, not like a price. Pure text, linear in its length.
"""

from __future__ import annotations

import re
from bisect import bisect_left

_PAIRS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_MARK = re.compile(r"(?<!\\)\\[()\[\]]|\$\$|(?<![\\$])\$(?!\$)")
_LONGEST = 2000
"""Longest formula, characters."""
_PLAIN = re.compile(r"\A(?=\S)[^$`]*(?<=\S)\Z")
_MATHS = re.compile(r"\\[A-Za-z]|\^|_[{A-Za-z0-9]|[=<>+*/]|\A[A-Za-z]\Z")
_NAMES = """
    alpha α  beta β  gamma γ  delta δ  epsilon ε  varepsilon ε  zeta ζ  eta η  theta θ  iota ι  kappa κ
    lambda λ  mu μ  nu ν  xi ξ  pi π  rho ρ  sigma σ  tau τ  phi φ  varphi φ  chi χ  psi ψ  omega ω
    Gamma Γ  Delta Δ  Theta Θ  Lambda Λ  Xi Ξ  Pi Π  Sigma Σ  Phi Φ  Psi Ψ  Omega Ω  times ×  cdot ·
    div ÷  pm ±  mp ∓  le ≤  leq ≤  ge ≥  geq ≥  ne ≠  neq ≠  approx ≈  equiv ≡  sim ∼  propto ∝
    infty ∞  sum ∑  prod ∏  int ∫  partial ∂  nabla ∇  forall ∀  exists ∃  in ∈  notin ∉  subset ⊂
    subseteq ⊆  cup ∪  cap ∩  emptyset ∅  to →  rightarrow →  Rightarrow ⇒  implies ⇒  leftarrow ←
    Leftrightarrow ⇔  iff ⇔  mapsto ↦  land ∧  lor ∨  neg ¬  angle ∠  perp ⊥  parallel ∥  circ °
    degree °  ldots …  dots …  cdots ⋯  therefore ∴  because ∵  mid |  lVert ‖  rVert ‖  langle ⟨
    rangle ⟩  lfloor ⌊  rfloor ⌋  lceil ⌈  rceil ⌉  ell ℓ  hbar ℏ  star ⋆  bullet •
"""
_SIGNS = {one.split(" ")[0]: one.split(" ")[1] for one in re.split(r"\n[ ]{4}|[ ]{2}", _NAMES.strip())}
_NOTHING = frozenset(
    "left right big Big bigg Bigg displaystyle limits nolimits text mathrm mathbf mathit mathbb mathcal"
    " mathsf boxed operatorname textbf textit quad qquad vec hat bar overline underline tag label".split()
)
_COMMAND = re.compile(r"\\([A-Za-z]++)[ ]?|\\([,;:! ])|\\(\\)|\\([{}$%&#_|])")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[A-Za-z]{1,20}\*?\}(?:\{[lcr|]{1,20}\})?")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{0,200})\}\{([^{}]{0,200})\}")
_ROOT = re.compile(r"\\sqrt(?:\[([^\[\]{}]{1,5})\])?\{([^{}]{0,200})\}")
_SCRIPT = re.compile(r"([\^_])(?:\{([^{}]{0,200})\}|(\\[A-Za-z]{1,20}|[^\s{}\\]))")
_WORDS = re.compile(
    r"\\(?:text|mathrm|mathbf|mathit|mathbb|boxed|operatorname|textbf|textit|vec|hat|bar)\{([^{}]{0,200})\}"
)
_RAISED = str.maketrans("0123456789+-=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ")
_LOWERED = str.maketrans("0123456789+-=()aeoxijkmnpt", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓᵢⱼₖₘₙₚₜ")
_KEPT = {"^": "\ue000", "_": "\ue001"}
"""Stand-ins for signs that are written already and not read again."""
_SIMPLE = re.compile(r"\w[\u00b2\u00b3\u00b9\u2070-\u209c]*+|\d{0,20}|\\[A-Za-z]{1,20}")
_DEEPEST = 6
"""Fractions inside of fractions that are rewritten."""
_LIVE = re.compile(r"[*_~|`\\]")


def without_formulas(text: str) -> str:
    """Return a text without code in which each formula is written in plain signs."""
    marks = [(match.start(), match[0]) for match in _MARK.finditer(text)]
    places: dict[str, list[int]] = {}
    for position, mark in marks:
        places.setdefault(mark, []).append(position)
    pieces, last = [], 0
    for position, mark in marks:
        if position < last or mark in ("\\)", "\\]"):
            continue
        closing = _PAIRS.get(mark, mark)
        ends = places.get(closing, [])
        index = bisect_left(ends, position + len(mark))
        if index == len(ends) or ends[index] - position > _LONGEST:
            continue
        inside, end = text[position + len(mark) : ends[index]], ends[index] + len(closing)
        if _is_formula(mark, inside, text[end : end + 1]):
            pieces += [text[last:position], _escaped(plain_formula(inside))]
            last = end
    return "".join([*pieces, text[last:]])


def plain_formula(formula: str) -> str:
    """Return a formula in plain signs; commands that are not known lose their backslash."""
    text = _ENVIRONMENT.sub("", formula)
    for _ in range(_DEEPEST):
        before = text
        text = _WORDS.sub(r"\1", text)
        text = _SCRIPT.sub(_script, text)
        text = _ROOT.sub(lambda found: f"{(found[1] or '').translate(_RAISED)}√{_bracketed(found[2])}", text)
        text = _FRACTION.sub(lambda found: f"{_bracketed(found[1])}/{_bracketed(found[2])}", text)
        if text == before:
            break
    for sign, kept in _KEPT.items():
        text = text.replace(kept, sign)
    text = _COMMAND.sub(_command, text.replace("&", ""))
    lines = (" ".join(line.split()) for line in text.replace("{", "").replace("}", "").split("\n"))
    return "\n".join(line for line in lines if line)


def _is_formula(mark: str, inside: str, after: str) -> bool:
    if "`" in inside or "||" in inside or not inside.strip() or "\n\n" in inside:
        return False
    if mark != "$":
        return True
    one_line = "\n" not in inside and _PLAIN.match(inside) is not None
    return one_line and not after.isalnum() and _MATHS.search(inside) is not None


def _script(found: re.Match[str]) -> str:
    """Return an exponent or index: in small signs where each has one, else behind its sign."""
    inner = found[2] if found[2] is not None else found[3]
    sign = _KEPT[found[1]]
    if inner.startswith("\\"):
        return sign + _SIGNS.get(inner[1:], inner)
    if inner in ("°", "∘", "'"):
        return inner
    table = _RAISED if found[1] == "^" else _LOWERED
    if inner and all(ord(char) in table for char in inner):
        return inner.translate(table)
    return f"{sign}{_bracketed(inner)}"


def _command(found: re.Match[str]) -> str:
    name, _space, line, sign = found.groups()
    if name is None:
        return "\n" if line else (sign or " ")
    if name in _SIGNS:
        return _SIGNS[name] + (" " if found[0].endswith(" ") else "")
    return (" " if name.endswith("quad") else "") if name in _NOTHING else found[0][1:]


def _bracketed(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def _escaped(text: str) -> str:
    """Return signs with a backslash before those that have a meaning in markdown."""
    return _LIVE.sub(lambda found: f"\\{found[0]}", text)
