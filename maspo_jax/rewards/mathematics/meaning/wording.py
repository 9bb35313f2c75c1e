"""Answers that are compared as they are worded: text, and the letters of choices."""

_OPENERS = ("-", "{", "[", "\\{")  # what the text of a choice may begin with


def plain(tokens):
    """Returns the words of an answer without case, punctuation or article."""
    words = []
    for token in tokens:
        if token.kind == "op" and token.text not in "+-":
            continue
        if words and not token.spaced and token.kind != "word":
            words[-1] += token.text.lower()
        else:
            words.append(token.text.lower())
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        del words[0]
    return "".join(words)


def choice(tokens):
    """Returns the letter if a reference is the label of one choice."""
    bare = [token for token in tokens if token.text not in "()"]
    if len(bare) == 1 and len(bare[0].text) == 1 and bare[0].text in "ABCDEFGHIJ":
        return bare[0].text
    return None


def chosen(label, tokens):
    """Whether an answer is that label, with or without the choice's text after it."""
    if tokens[0].text.lower() in ("option", "choice") and len(tokens) > 1:
        tokens = tokens[1:]
    texts = [token.text for token in tokens]
    if len(texts) == 1:
        return texts[0].upper() == label
    if texts[0] == "(":
        tokens, texts = tokens[1:], texts[1:]
    if texts[1:2] == [")"]:  # (B) or B), perhaps with the choice's text after it
        rest = tokens[2:3]
        joined = rest and rest[0].kind == "op" and rest[0].text not in _OPENERS
        return None if joined or ")" in texts[2:] else texts[0].upper() == label
    if len(texts) > 2 and texts[1] == ":":
        return texts[0] == label
    return None
