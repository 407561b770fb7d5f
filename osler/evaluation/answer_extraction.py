"""Which option a generated text answers with.

By its letter, by its words, or not at all.

Never a guess: a text that names several options, one that is not there ("None of the above", "E") or none has no
answer, which the evaluation counts as wrong and reports as unparsed. What was thought is cut off, and what stands around an
answer becomes words (answer_marks.py). Where a model asks itself a next question, only what it wrote before counts. Rules
in order; the first that finds an answer decides, also that it is no option:

1. `field`: the string in a field such as `"answer_choice"`, of JSON, Python, or neither.
2. `statement`: what follows the last "the answer is", "correct choice:" and the like, unless its clause doubts it ("some
   say", "not", "if").
3. `naming`: "B is the correct answer", "Option B is correct".
4. `opening`: the text begins with the answer: a letter, a letter and its option, an option's words, "Yes, since ...".
5. `last_line`: the text ends with a line that is a letter, or a letter and its option, and marks no other.
6. `conclusion`: the last sentence says "... is B. Thumb"; or says "therefore" or the like, has the words of one option and
   denies nothing.

An option that is denied ("Heparin is contraindicated") is no answer.

Of 5,772 outputs of a commercial model (MedMCQA, MMLU, PubMedQA; its test) the field answers 5,433 and gives
no option in 292, statements answer 3; 44 say nothing or several things, 27 of them empty. With the field cut off,
the other rules answer 3,339, two of them unlike the field, where the words themselves say so. 0.2 ms a text.
"""

import re
from collections.abc import Sequence

from osler.evaluation.answer_marks import unwrapped
from osler.evaluation.questions import LETTERS
from osler.evaluation.thoughts import said

NO_OPTION = -1  # an answer, but to several options or to one that is not there
PLAIN_WORDS = {"yes", "no", "maybe", "true", "false", "all", "both", "none"}  # they stand in any sentence

FIELD = re.compile(
    r"""["'](?:final_|correct_)?answer(?:_choice|_letter|_option)?["']\s*:\s*(?:"""
    r"""\[(?P<several>[^\]]*)\]|"(?P<value>(?:[^"\\]|\\.)*)(?P<closed>"?)"""
    r"""|'(?P<quoted>(?:[^'\\]|\\.|'(?!\s*(?:[,}\]]|$)))*)(?P<ended>'?)|(?P<letter>[A-Z])\b)""",
    re.IGNORECASE,
)
RUN_ON = re.compile(r"\n\s*(?:Question|User|Human):")  # the model asks itself the next one
EMPHASIS = re.compile(r"__|[*`\"“”]|(?<!\w)'|(?<=[\w.])'(?!\w)")
STATEMENT = re.compile(
    r"\b(?:(?:answer(?: choice| option)?(?: to (?:the|this) question)?|(?:correct|best|right|most \w+) (?:choice|option))"
    r"(?: (?:is|would be|should be|must be)(?: (?:therefore|thus|likely|most likely|probably))?:?|:)\s|answer ?= ?"
    r"|\bI(?:'d| would| will)? (?:choose|select|pick|go with) )",
    re.IGNORECASE,
)
NAMING = re.compile(
    r" (?:is|would be) (?:therefore |thus |clearly |indeed )*"
    r"(?:the (?:most )?(?:correct|best|right|likely) (?:answer|choice|option)\b|correct(?=\s*(?:$|[.,;:!]|because|since|as\b)))"
)
QUESTION = re.compile(r"[^.!?\n]*\?")
NAMED_BY = re.compile(
    r"^.*(?:[,;:]|\b(?:so|therefore|thus|hence|but|that|think|believe|because|since|here|only))\s+", re.DOTALL
)
LETTER = re.compile(
    r"(?i:(?:the )?(?:option|choice|letter) )?\(?([A-Za-z])(?:( ?[).:]+(?!\w)| -(?= ))\s*|(?=[\s,;]|$))"
)
LETTERS_ONLY = re.compile(
    r"(?:both |either |options? )*\(?[A-Z]\)?(?:(?:\s*[/,&+]\s*|,? and |,? or )+(?:option )?\(?[A-Z]\)?)+",
    re.IGNORECASE,
)
WHOLE = re.compile(
    r"(none|all|both)\b(?: of)?(?: (?:the|these|those|them|above|options|choices|given|provided|listed))*(?= ?[.,;(]|$)"
)
JOINED = re.compile(
    r"[\s)]*(?:[,;/&]|\bor\b|\band\b|\bactually\b)\s*(?:(?:possibly|perhaps|maybe|actually|also|rather)\s+)?",
    re.IGNORECASE,
)
MARK = re.compile(r"(?:option|choice) \(?([A-Z])\b|\(?([A-Z])(?:[).:]|$|/)")
BOUNDARY = re.compile(
    r"\s*$|\s*\n|\s*[.,;:!?)](?!\w)|\s*\(|\s(?:because|since|as|due to|which|based on|-)\s", re.IGNORECASE
)
SENTENCE_END = re.compile(r"(?<![\s(][A-Z])(?<!^[A-Z])[.!?](?=\s|$)|\n")
CONCLUDING = re.compile(r"\b(?:therefore|thus|hence|so|in conclusion|in summary|consequently)\b", re.IGNORECASE)
CLOSING = re.compile(r"\b(?:is|are|be)(?: (?:most|likely|probably))* \(?([A-Z])[).:]+ ")
CONDITION = re.compile(r"\b(?:if|whether|unless)\b", re.IGNORECASE)
DENIAL = re.compile(
    r"\b(?:not?|none|neither|nor|never|cannot|except|incorrect|unlike|without|wrong|false|contraindicated|inappropriate"
    r"|avoid\w*|exclud\w*|rul(?:e|ed|es|ing) out)\b|n't\b",
    re.IGNORECASE,
)
DOUBT = re.compile(
    r"\b(?:not|doubt|false|wrong|incorrect|(?:some|many)(?: people| may| might)? (?:say|think))\b|n't\b", re.IGNORECASE
)
CLAUSE = re.compile(r"[,;]|\b(?:so|therefore|thus|hence|but|and|because|since)\b", re.IGNORECASE)
VERB = re.compile(r"\s*(?:is|are|can be|should be|must be|would be|has been|was)\b")


def extracted(text: str, options: Sequence[str]) -> int | None:
    """The option that `text` answers with.

    Args:
        text: what a model wrote.
        options: as they were listed, A first.
    Returns:
        The option's place, or None when the text names none or several.
    """
    words = [comparable(option) for option in options]
    text = said(text)
    first, *_ = RUN_ON.split(text)
    text = first if first.strip() else text
    found = field(text, words)
    shown = plain(unwrapped(text))
    for rule in (statement, naming, opening, last_line, conclusion):
        found = rule(shown, words) if found is None else found
    return None if found is None or found == NO_OPTION else found


def plain(text: str) -> str:
    """`text` with simple white space and without emphasis.

    Quotation marks go too, and the comma before a last "and" or "or".
    """
    bare = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", EMPHASIS.sub("", text))).strip()
    return re.sub(r",(?= (?:and|or) )", "", bare)


def comparable(text: str) -> str:
    """`text` as options are compared.

    A lone letter keeps its case, since C is a letter and c may be an option.
    """
    bare = " ".join(plain(text).split()).strip(" .,;:")
    return bare if len(bare) == 1 else bare.casefold()


def field(text: str, options: Sequence[str]) -> int | None:
    """The option in the last JSON field that is an answer's.

    None where that field is empty. A lone word that is broken off names no option, since it might have gone on.
    """
    *_, last = [None, *FIELD.finditer(text)]
    if not last:
        return None
    if last["several"] is not None:
        value, closed = last["several"].strip().strip("\"'"), "]"
    else:
        value = next(found for found in (last["value"], last["quoted"], last["letter"]) if found is not None)
        closed = last["closed"] or last["ended"] or last["letter"]
    if not value.strip():
        return None
    whole = closed or re.match(r"\s*\(?[A-Za-z][).:]+ ", value)
    named = beginning(plain(unwrapped(value)), options) if whole else None
    return NO_OPTION if named is None else named


def statement(text: str, options: Sequence[str]) -> int | None:
    """What the last statement of an answer names.

    Statements that name nothing are passed over. So are those with an "if", a doubt or a list of options.
    """
    found = None
    for match in STATEMENT.finditer(text):
        before, after = SENTENCE_END.split(text[: match.start()])[-1], text[match.end() :]
        own = past_own(after, options)
        listing = ":" in match[0] and len(marks(after if own is None else own, options)) > (own is None)
        doubted = DOUBT.search(CLAUSE.split(before)[-1])
        if not CONDITION.search(before) and not listing and not doubted:
            named = NO_OPTION if after.startswith("either ") else beginning(after, options)
            found = found if named is None else named
    return found


def naming(text: str, options: Sequence[str]) -> int | None:
    """The only option, by letter or words, that is called the answer."""
    named = set[int]()
    for part in sentences(QUESTION.sub(" ", text)):
        if (verb := NAMING.search(part)) and not CONDITION.search(part):
            subject, (following, *_) = part[: verb.start()], CLAUSE.split(part[verb.end() :])
            if DENIAL.search(re.split(r"\bbut\b", subject)[-1] + following):
                continue
            pieces = (subject, NAMED_BY.sub("", subject))
            found = next((place for piece in pieces if (place := called(piece, options)) is not None), None)
            named |= set() if found is None else {found}
    if not named:
        return None
    return named.pop() if len(named) == 1 else NO_OPTION


def called(subject: str, options: Sequence[str]) -> int | None:
    """The option that the subject of a sentence is, all of it."""
    letter = LETTER.match(subject)
    rest = subject[letter.end() :].strip(" ()") if letter else ""
    if letter and not rest:
        return place_of(letter[1], options)
    known = comparable(subject) in options or letters_of(subject) or comparable(rest) in options
    return beginning(subject, options) if known else None


def opening(text: str, options: Sequence[str]) -> int | None:
    """The answer that the text begins with.

    None where letters of other options are marked further on.
    """
    letter, further = LETTER.match(text), ""
    if letter and letter.end() < len(text):
        place, further = place_of(letter[1], options), text[letter.end() :].lstrip(" ")
        loose = (letter[2] is None and further[0] != "\n") or further[
            0
        ].islower()  # "A patient with", "C. difficile is"
        if place != NO_OPTION and spells(further, options[place]):
            further = further[len(options[place]) :]
        elif place == NO_OPTION or loose:
            letter = None
    if marks(further, options) if letter else len(marks(text, options)) > 1:
        return None
    first, *others = sentences(text)
    if comparable(first) in options and {comparable(other) for other in others} & set(options) - {comparable(first)}:
        return NO_OPTION
    if letter or comparable(first) in options or comparable(first.partition(",")[0]) in PLAIN_WORDS:
        return beginning(text, options)
    return beginning(first, options) if WHOLE.fullmatch(comparable(first)) or letters_of(first) else None


def last_line(text: str, options: Sequence[str]) -> int | None:
    """A last line that is the answer alone.

    A letter, or a letter and its option.
    """
    before, _, last = text.rpartition("\n")
    letter = LETTER.match(last)
    if not letter or not before or marks(before, options) or letter[1].islower():
        return None
    rest = past_own(last, options)
    is_whole = not (last[letter.end() :] if rest is None else rest).strip(" .")
    return place_of(letter[1], options) if is_whole else None


def conclusion(text: str, options: Sequence[str]) -> int | None:
    """The option whose words stand in a concluding last sentence.

    An option inside another's words does not count.
    """
    last = sentences(text)[-1]
    if CONDITION.search(last) or len(marks(last, options)) > 1:
        return None
    if closing := CLOSING.search(last):
        place, rest = place_of(closing[1], options), last[closing.end() :]
        return None if place == NO_OPTION or after_option(rest, options[place]) is None else place
    if not CONCLUDING.search(last) or DENIAL.search(last):
        return None
    last = last.casefold()
    found = set()
    for index in sorted(range(len(options)), key=lambda index: -len(options[index])):
        if len(options[index]) > 2 and re.search("[a-z]", options[index]) and options[index] not in PLAIN_WORDS:
            pattern = rf"(?<![\w.-]){re.escape(options[index])}(?![\w-]|\.\d)"
            if re.search(pattern, last):
                found.add(index)
                last = re.sub(pattern, " # ", last)
    return found.pop() if len(found) == 1 else None


def sentences(text: str) -> list[str]:
    """The sentences of `text`, at least one.

    A letter and a full stop, as in `B. Thumb`, end none.
    """
    parts = [part.strip() for part in SENTENCE_END.split(text)]
    return [part for part in parts if part] or [""]


def marks(text: str, options: Sequence[str]) -> set[str]:
    """The letters of options that `text` marks, as `(B)` or `B.`."""
    return {mark for mark in re.findall(r"(?<![\w.])\(?([A-Z])[).:](?!\w)", text) if mark in LETTERS[: len(options)]}


def letters_of(text: str) -> set[str]:
    """The letters that `text` joins, as `A and C` or `A/B`.

    Empty where the text does more than that.
    """
    return set(re.findall(r"\b[A-Z]\b", text.upper())) if LETTERS_ONLY.fullmatch(text) else set()


def past_own(text: str, options: Sequence[str]) -> str | None:
    """What follows a letter and its own option, as `B. elm`.

    None where the text does not begin so.
    """
    letter = LETTER.match(text)
    place = place_of(letter[1], options) if letter else NO_OPTION
    rest = text[letter.end() :].lstrip(" ") if letter else ""
    return rest[len(options[place]) :] if place != NO_OPTION and spells(rest, options[place]) else None


def place_of(letter: str, options: Sequence[str]) -> int:
    """The place of a letter among the options."""
    place = LETTERS.index(letter.upper())
    return place if place < len(options) else NO_OPTION


def spells(text: str, option: str) -> bool:
    """Whether `text` begins with the words of `option`."""
    return text[: len(option)].casefold() == option.casefold() and not re.match(r"\w", text[len(option) :])


def after_option(text: str, option: str) -> str | None:
    """What follows the words of `option` where `text` begins with them.

    None where it does not.
    """
    if not spells(text, option) or (len(option) == 1 and text[0] != option):
        return None
    rest = text[len(option) :]
    return rest if BOUNDARY.match(rest) else None


def joins_another(rest: str, options: Sequence[str], own: int) -> bool:
    """Whether the sentence goes on to an option other than `own`.

    An "or", an "and" or a slash has to lead to that option's letter or words.
    """
    for joint in JOINED.finditer(rest):
        following = rest[joint.end() :]
        mark = MARK.match(following)
        if mark and (mark[1] or mark[2]) in set(LETTERS[: len(options)]) - {LETTERS[own]}:
            return True
        if any(after_option(following, option) is not None for index, option in enumerate(options) if index != own):
            return True
    return False


def denied(rest: str) -> bool:
    """Whether what follows an option denies it, as `is contraindicated`."""
    return bool(VERB.match(rest) and DENIAL.search(rest))


def beginning(text: str, options: Sequence[str]) -> int | None:
    """What an answer begins with.

    Args:
        text: plain, from where the answer stands; it may go on after it.
        options: comparable.
    Returns:
        A place; NO_OPTION where several options or a letter out of range are named; None where no option is.
    """
    first = sentences(text)[0]
    words = comparable(first)
    same = [index for index, option in enumerate(options) if option in (words, comparable(text))]
    letter = LETTER.match(text)
    if letter and len(words.strip("()[]")) == 1:
        place = place_of(letter[1], options)
        if place == NO_OPTION or not same:
            return same[0] if len(same) == 1 else place
        return place if same == [place] else NO_OPTION
    if same:
        return same[0] if len({options[index] for index in same}) == 1 else NO_OPTION
    if whole := WHOLE.match(words):
        alike = [index for index, option in enumerate(options) if (m := WHOLE.fullmatch(option)) and m[1] == whole[1]]
        return alike[0] if len(alike) == 1 else NO_OPTION
    if letters_of(first):
        alike = [index for index, option in enumerate(options) if letters_of(option) == letters_of(first)]
        return alike[0] if len(alike) == 1 else NO_OPTION
    further = text[letter.end() :] if letter and letter[2] else ""
    headed = [
        index
        for index, option in enumerate(options)
        if after_option(text, option) is not None and not (len(option) == 1 and further)  # `C. D` is C, be C an option
    ]
    if headed:
        index = max(headed, key=lambda index: len(options[index]))
        rest = sentences(text[len(options[index]) :])[0]
        joint = JOINED.match(rest)
        return NO_OPTION if denied(rest) or (joint and joins_another(rest, options, index)) else index
    if letter:
        return lettered(letter, text[letter.end() :], options)
    return None


def lettered(letter: "re.Match[str]", rest: str, options: Sequence[str]) -> int | None:
    """The option of `letter`, unless `rest` names another.

    `rest` may spell that option out or give reasons for it.
    """
    place = place_of(letter[1], options)
    own = options[place] if place != NO_OPTION else ""
    rest = rest.strip() if own and spells(rest.strip(), own) else rest.strip(" (")
    if own and spells(rest, own):
        following = sentences(rest[len(own) :])[0]
        several = JOINED.match(following) and joins_another(following, options, place)
        return NO_OPTION if several or denied(following) else place
    if letter[2] is None and not (letter[1].isupper() and BOUNDARY.match(f" {rest}" if rest[:1].isalpha() else rest)):
        return None  # "a drug", "A patient with"
    if place == NO_OPTION:
        return NO_OPTION
    whole, own_whole = WHOLE.match(comparable(sentences(rest)[0])), WHOLE.fullmatch(own)
    contrary = (
        any(after_option(rest, option) is not None for option in options)
        or (whole and not (own_whole and own_whole[1] == whole[1]))
        or any(option.startswith(f"{letter[1].casefold()}. ") for option in options if option != own)
        or joins_another(sentences(rest)[0], options, place)
    )
    return NO_OPTION if contrary else place
