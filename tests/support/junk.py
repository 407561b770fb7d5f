"""Planted junk: documents that a clinical corpus should not have, of four kinds, drawn from a seed.

* `ocr_noise`: invented clinical text with a share of its characters misread, SEVERITIES; at 5 % a reader follows with
  effort (about one word in four is damaged), at 35 % no longer. Spaces are lost and added, too.
* `number_table`: laboratory series, measurements, comma separated exports and lists of coordinates, 8 to 60 rows.
* `boilerplate`: cookie notices, navigation, disclaimers and footers of websites; half of the documents are several
  different blocks, half one block repeated, sometimes around a sentence of content.
* `foreign`: clinical sentences in LANGUAGES, 2 to 7 a document, one in ten documents in capitals.

All sentences were written for this file, with invented names. `genuine` is the text that noise is planted in.
"""

import random
from collections.abc import Callable, Mapping

import polars as pl

SEVERITIES = (0.05, 0.10, 0.20, 0.35)

_SENTENCES = (
    "The patient is a {age}-year-old {sex} who presented to the emergency department with {days} days of {symptom}.",
    "There was no history of {disease}, and the family history was noncontributory.",
    "Past medical history is significant for {disease} and {disease}, both managed by the family physician.",
    "On examination the blood pressure was {sys}/{dia} mmHg, the pulse {pulse} per minute and regular.",
    "The lungs were clear to auscultation bilaterally without wheezes, rales or rhonchi.",
    "The abdomen was soft and nontender, with normal bowel sounds and no palpable masses.",
    "Laboratory studies showed a hemoglobin of {hb} g/dL, a white cell count of {wbc} and a creatinine of {crea} mg/dL.",
    "She was started on {drug} {dose} mg twice daily and asked to return in {days} days.",
    "Chest radiography demonstrated a small {side} pleural effusion without evidence of pneumothorax.",
    "Computed tomography of the abdomen with contrast revealed mild dilatation of the {side} renal pelvis.",
    "Treatment with {drug} was discontinued because of {symptom}, and {drug} was substituted.",
    "We randomly assigned {n} patients with {disease} to receive either {drug} or placebo for {weeks} weeks.",
    "The primary outcome was the change in {outcome} from baseline to week {weeks}.",
    "Adverse events were reported by {pct}% of the participants in the treatment group, most often {symptom}.",
    "The difference between the groups was not statistically significant (p = 0.{p}).",
    "These findings suggest that {drug} may be of benefit in selected patients with {disease}.",
    "The wound was irrigated with normal saline and closed in layers with absorbable sutures.",
    "Estimated blood loss was {ml} mL, and the patient tolerated the procedure well.",
    "The patient denies fever, chills, night sweats, weight loss or recent travel.",
    "Further evaluation should include an echocardiogram, since a murmur was heard at the {side} sternal border.",
    "Patients who were pregnant, or who had received {drug} within {weeks} weeks, were excluded from the study.",
    "The mechanism by which {drug} lowers {outcome} is not completely understood.",
    "Clinicians should monitor renal function when the drug is given together with {drug}.",
    "In most cases {disease} is diagnosed late, because early symptoms such as {symptom} are not specific.",
)
_SLOTS: Mapping[str, tuple[str, ...]] = {
    "sex": ("woman", "man", "female", "male"),
    "side": ("left", "right"),
    "symptom": ("abdominal pain", "shortness of breath", "headache", "nausea and vomiting", "dizziness", "chest pain",
                "productive cough", "swelling of both ankles", "blurred vision", "itching of the skin"),
    "disease": ("hypertension", "type 2 diabetes mellitus", "chronic kidney disease", "atrial fibrillation", "asthma",
                "rheumatoid arthritis", "major depression", "hypothyroidism", "coronary artery disease", "gout"),
    "drug": ("metoprolol", "lisinopril", "warfarin", "prednisone", "ciprofloxacin", "omeprazole", "furosemide",
             "amoxicillin", "gabapentin", "atorvastatin"),
    "outcome": ("systolic blood pressure", "glycated hemoglobin", "the pain score", "bone mineral density",
                "serum cholesterol", "forced expiratory volume"),
}  # fmt: skip
_NUMBERS = {"age": (19, 91), "days": (2, 30), "sys": (95, 185), "dia": (55, 105), "pulse": (52, 118), "crea": (1, 4),
            "hb": (7, 16), "wbc": (3, 19), "dose": (5, 80), "n": (24, 900), "weeks": (4, 52), "pct": (3, 64),
            "p": (11, 97), "ml": (20, 600)}  # fmt: skip

_MISREAD = {
    "l": "1|I!", "I": "l1|", "o": "0c", "O": "0Q", "e": "c0", "c": "e(", "i": "1l;", "s": "5$", "S": "5", "a": "@o",
    "n": "uri", "u": "nv", "h": "bl", "b": "h6", "g": "9q", "q": "9g", "t": "f+", "f": "t", "r": "i", "v": "y",
    "d": "cl", "B": "8", "G": "6", "Z": "2", "z": "2", "m": "rn", "w": "vv", "y": "v", "p": "o",
    ".": ",", ",": ".", "0": "O", "1": "lI", "5": "S", "8": "B",
}  # fmt: skip
_SPECKS = "~^*|'`\"_-.,:;·°<>\\"

_COOKIES = (
    "We use cookies to improve your experience on our website. By continuing to browse this site you agree to our use of"
    " cookies. Read our cookie policy to find out more. Accept all cookies. Manage preferences.",
    "This website uses cookies and similar technologies. Some are necessary for the site to work, others help us to"
    " understand how visitors use it. You can change your cookie settings at any time. Accept. Decline.",
    "{org} and its partners store and access information on your device, such as cookies, to show personalised"
    " advertising and measure content. Click here to accept all cookies or to reject all.",
    "Your privacy matters to us. Please read our privacy policy before you continue. OK, I understand.",
)
_MENUS = (
    "Home", "About us", "Contact", "Contact us", "Find a doctor", "Patients and visitors", "Departments", "Careers",
    "News and events", "Research", "Donate", "Login", "Log in", "Sign up", "Search", "Menu", "Back to top", "Site map",
    "Our services", "Make an appointment", "For professionals", "Publications", "Privacy policy", "Terms of use",
    "Skip to main content", "Follow us", "Facebook", "Twitter", "LinkedIn", "YouTube", "Share this page", "Print",
    "Subscribe", "Newsletter", "Help", "FAQ", "My account", "Shopping cart", "Next", "Previous", "Read more",
)  # fmt: skip
_DISCLAIMERS = (
    "The information on this website is for educational purposes only and is not intended as a substitute for"
    " professional medical advice, diagnosis or treatment. Always seek the advice of your physician.",
    "Disclaimer: {org} does not endorse any product named on this website and accepts no liability for its content."
    " Use of this site constitutes acceptance of our terms of use.",
    "This content is not medical advice. Never disregard professional medical advice because of something you have read"
    " on this website. If you think you may have a medical emergency, call your doctor immediately.",
    "Material on this site may not be reproduced, distributed or transmitted without the prior written permission of"
    " {org}.",
)
_FOOTERS = (
    "Copyright {year} {org}. All rights reserved. Privacy policy. Terms and conditions.",
    "© {year} {org} | Privacy policy | Terms of use | Accessibility | Site map",
    "Subscribe to our newsletter. Enter your email address. You can unsubscribe at any time. Follow us on Facebook and"
    " Twitter.",
    "JavaScript is disabled in your browser. Please enable JavaScript to view this page.",
    "Page {page} of 12. Downloaded from www.{site}.example by a guest on 3 May {year}. All rights reserved.",
    "Sign up or log in to continue reading this article. Forgot your password? Click here.",
)
_ORGANIZATIONS = (
    "Larkhill Hospital",
    "Northmere Clinic",
    "The Vesper Health Group",
    "MediQuill",
    "Orrin Medical Press",
)

_FOREIGN: Mapping[str, tuple[str, ...]] = {
    "de": (
        "Der {n}-jährige Patient stellte sich mit seit drei Tagen bestehenden Schmerzen im rechten Unterbauch vor.",
        "Die Laborwerte zeigten eine deutliche Erhöhung der Entzündungszeichen.",
        "Nach der Operation wurde die Patientin auf die Normalstation verlegt.",
        "Wir empfehlen eine Kontrolle des Blutdrucks durch den Hausarzt in {n} Tagen.",
        "Eine Allergie gegen Penicillin ist bekannt, weitere Unverträglichkeiten bestehen nicht.",
        "Die Behandlung mit {n} mg Metoprolol wurde gut vertragen und soll fortgesetzt werden.",
        "Im Ultraschall fand sich kein Hinweis auf freie Flüssigkeit.",
    ),
    "fr": (
        "Le patient, âgé de {n} ans, a été hospitalisé pour une douleur thoracique apparue le matin même.",
        "L'examen clinique ne retrouve pas de signe d'insuffisance cardiaque.",
        "Un traitement par antibiotiques a été débuté pour une durée de {n} jours.",
        "Les résultats de la prise de sang montrent une légère augmentation de la créatinine.",
        "La patiente ne présente aucune allergie connue aux médicaments.",
        "Une consultation de contrôle est prévue dans {n} semaines avec le médecin traitant.",
        "L'évolution a été favorable et la sortie a été autorisée.",
    ),
    "es": (
        "Paciente de {n} años que acude a urgencias por dolor abdominal y fiebre de dos días de evolución.",
        "La exploración física no muestra alteraciones y la presión arterial es normal.",
        "Se inició tratamiento con amoxicilina durante {n} días con buena respuesta.",
        "No se conocen alergias a medicamentos ni antecedentes familiares de interés.",
        "La radiografía de tórax fue normal y no se observaron derrames.",
        "Se recomienda control por su médico de cabecera en {n} semanas.",
        "Los efectos adversos más frecuentes fueron náuseas y dolor de cabeza.",
    ),
    "it": (
        "Il paziente di {n} anni è stato ricoverato per dispnea e tosse persistente da una settimana.",
        "Gli esami del sangue hanno mostrato un aumento dei globuli bianchi.",
        "È stata iniziata una terapia antibiotica per {n} giorni con buon risultato.",
        "La paziente non riferisce allergie a farmaci o alimenti.",
        "Si consiglia un controllo della pressione arteriosa ogni mattina.",
        "La radiografia del torace non ha evidenziato lesioni in atto.",
        "Il dolore è migliorato dopo la somministrazione di {n} mg di paracetamolo.",
    ),
    "pt": (
        "Doente de {n} anos, internado por dor no peito e falta de ar com dois dias de evolução.",
        "O exame físico não mostrou alterações e a tensão arterial estava normal.",
        "Foi iniciado tratamento com antibiótico durante {n} dias, com boa resposta.",
        "Não são conhecidas alergias a medicamentos nem antecedentes familiares relevantes.",
        "A radiografia do tórax não revelou derrame pleural.",
        "Recomenda-se uma nova consulta dentro de {n} semanas.",
        "As reações adversas mais comuns foram náuseas, tonturas e dor de cabeça.",
    ),
    "nl": (
        "De patiënt van {n} jaar werd opgenomen met koorts en pijn in de rechterzij.",
        "Bij lichamelijk onderzoek werden geen afwijkingen aan hart en longen gevonden.",
        "De behandeling met antibiotica werd gedurende {n} dagen voortgezet.",
        "Er zijn geen allergieën voor geneesmiddelen bekend.",
        "De bloeddruk moet over twee weken door de huisarts worden gecontroleerd.",
        "Na de ingreep herstelde de patiënte zonder complicaties.",
        "Uit het bloedonderzoek bleek dat de nierfunctie licht verminderd was.",
    ),
    "sv": (
        "Patienten, {n} år gammal, sökte akut på grund av smärta i bröstet och andnöd.",
        "Vid undersökningen hördes inga biljud över hjärtat eller lungorna.",
        "Behandling med antibiotika gavs under {n} dagar med gott resultat.",
        "Inga kända allergier mot läkemedel finns sedan tidigare.",
        "Blodtrycket bör kontrolleras på vårdcentralen om två veckor.",
        "Röntgen av lungorna visade inga tecken på lunginflammation.",
        "De vanligaste biverkningarna var illamående, yrsel och huvudvärk.",
    ),
    "pl": (
        "Pacjent w wieku {n} lat został przyjęty do szpitala z powodu silnego bólu brzucha i gorączki.",
        "W badaniu fizykalnym nie stwierdzono zmian nad polami płucnymi.",
        "Leczenie antybiotykiem trwało {n} dni i przyniosło poprawę.",
        "Pacjentka nie zgłasza uczulenia na leki ani na pokarmy.",
        "Zaleca się kontrolę ciśnienia tętniczego u lekarza rodzinnego.",
        "Badanie krwi wykazało podwyższone stężenie kreatyniny.",
        "Najczęstszymi działaniami niepożądanymi były nudności i bóle głowy.",
    ),
    "tr": (
        "{n} yaşındaki hasta, iki gündür süren karın ağrısı ve ateş şikayetiyle acil servise başvurdu.",
        "Fizik muayenede akciğer sesleri doğal olarak değerlendirildi.",
        "Hastaya {n} gün boyunca antibiyotik tedavisi uygulandı.",
        "Bilinen ilaç alerjisi yoktur ve aile öyküsünde özellik saptanmadı.",
        "Kan tahlilinde böbrek fonksiyonlarının hafif bozulduğu görüldü.",
        "İki hafta sonra kan basıncının tekrar ölçülmesi önerildi.",
        "En sık görülen yan etkiler bulantı ve baş ağrısıydı.",
    ),
    "ru": (
        "Пациент {n} лет поступил в больницу с жалобами на боль в животе и повышение температуры.",
        "При осмотре патологических изменений со стороны сердца и лёгких не выявлено.",
        "Лечение антибиотиками проводилось в течение {n} дней с хорошим эффектом.",
        "Аллергии на лекарственные препараты у пациентки нет.",
        "Рекомендуется контроль артериального давления у участкового врача.",
        "В анализе крови отмечено небольшое повышение уровня креатинина.",
        "Наиболее частыми побочными явлениями были тошнота и головная боль.",
    ),
    "zh": (
        "患者{n}岁，因腹痛伴发热两天来院就诊。",
        "体格检查未见明显异常，血压正常，心肺听诊无特殊。",
        "给予抗生素治疗{n}天后，症状明显好转。",
        "患者否认药物过敏史，家族史无特殊。",
        "血液检查显示肌酐轻度升高，建议两周后复查。",
        "胸部影像学检查未发现胸腔积液。",
        "最常见的不良反应为恶心和头痛。",
    ),
    "ja": (
        "患者は{n}歳の男性で、二日前からの腹痛と発熱のため救急外来を受診した。",
        "身体所見では心肺に明らかな異常を認めなかった。",
        "抗菌薬を{n}日間投与したところ、症状は改善した。",
        "薬剤アレルギーの既往はなく、家族歴にも特記すべきことはない。",
        "血液検査でクレアチニンの軽度上昇がみられた。",
        "二週間後に血圧の再検査を行うことが望ましい。",
        "主な副作用は悪心と頭痛であった。",
    ),
}
LANGUAGES = tuple(_FOREIGN)


def genuine(draw: random.Random) -> str:
    """An invented clinical document of 5 to 16 sentences in 1 to 3 paragraphs."""
    sentences = []
    for sentence in draw.sample(_SENTENCES, draw.randint(5, 16)):
        for slot, values in _SLOTS.items():
            while f"{{{slot}}}" in sentence:
                sentence = sentence.replace(f"{{{slot}}}", draw.choice(values), 1)
        sentences.append(sentence.format(**{name: draw.randint(*limits) for name, limits in _NUMBERS.items()}))
    size = -(-len(sentences) // draw.randint(1, 3))
    return "\n".join(" ".join(sentences[start : start + size]) for start in range(0, len(sentences), size))


def misread(text: str, severity: float, draw: random.Random) -> str:
    """`text` with each character damaged with probability `severity`."""
    damaged = []
    for character in text:
        if draw.random() >= severity:
            damaged.append(character)
            continue
        kind = draw.random()
        if character == " ":
            damaged.append("" if kind < 0.7 else draw.choice(("  ", " . ", "\n")))
        elif kind < 0.1:
            damaged.append(character + " ")
        elif kind < 0.65 and character in _MISREAD:
            damaged.append(draw.choice([*_MISREAD[character], _MISREAD[character][:2]]))
        elif kind < 0.75:
            damaged.append("")
        elif kind < 0.85:
            damaged.append(character.swapcase())
        elif kind < 0.95:
            damaged.append(character + draw.choice(_SPECKS))
        else:
            damaged.append(draw.choice("abcdefghijklmnopqrstuvwxyz0123456789"))
    return "".join(damaged)


def _ocr_noise(draw: random.Random) -> tuple[str, str]:
    severity = draw.choice(SEVERITIES)
    return f"{severity:.2f}", misread(genuine(draw), severity, draw)


def _number_table(draw: random.Random) -> tuple[str, str]:
    style = draw.choice(("laboratory", "csv", "pipes", "coordinates", "series"))
    rows = draw.randint(8, 60)
    width = draw.randint(3, 9)
    digits = draw.randint(0, 3)

    def value() -> str:
        return f"{draw.uniform(0, draw.choice((1, 20, 300, 9000))):.{digits}f}"

    match style:
        case "laboratory":
            names = ("Na", "K", "Cl", "CO2", "BUN", "Creatinine", "Glucose", "WBC", "Hgb", "Hct", "Plt", "ALT", "AST")
            lines = ["Date " + " ".join(f"{draw.randint(1, 12)}/{draw.randint(1, 28)}" for _ in range(width))]
            lines += [f"{draw.choice(names)} " + " ".join(value() for _ in range(width)) for _ in range(rows)]
        case "csv":
            lines = [",".join(("id", "age", "visit", "weight", "dose", "score", "sbp", "dbp", "hr")[:width])]
            lines += [f"{row}," + ",".join(value() for _ in range(width - 1)) for row in range(rows)]
        case "pipes":
            lines = ["| " + " | ".join(f"Week {week}" for week in range(width)) + " |", "|---" * width + "|"]
            lines += ["| " + " | ".join(f"{value()} ({value()})" for _ in range(width)) + " |" for _ in range(rows)]
        case "coordinates":
            lines = [
                f"{draw.choice('ATCGN')}{draw.choice('ABCDE')} {draw.randint(1, 400)} "
                + " ".join(value() for _ in "xyz")
                for _ in range(rows)
            ]
        case _:
            lines = [" ".join(value() for _ in range(width)) for _ in range(rows)]
    return style, "\n".join(lines)


def _boilerplate(draw: random.Random, half: int) -> tuple[str, str]:
    def block() -> str:
        kind = draw.choice(("cookies", "menu", "disclaimer", "footer"))
        if kind == "menu":
            separator = draw.choice(("\n", " | ", "\n* ", " > "))
            return separator.join(draw.sample(_MENUS[half::2], draw.randint(6, 18)))
        return draw.choice({"cookies": _COOKIES, "disclaimer": _DISCLAIMERS, "footer": _FOOTERS}[kind][half::2])

    style = draw.choice(("site", "repeated"))
    if style == "site":
        blocks = [block() for _ in range(draw.randint(2, 6))]
        if draw.random() < 0.3:
            blocks.insert(1, draw.choice(("Page not found.", "There are no results for your search.", "Loading ...")))
    else:
        blocks = [block()] * draw.randint(3, 9)
        if draw.random() < 0.5:
            blocks.insert(1, genuine(draw).split("\n")[0].split(". ")[0] + ".")
    text = draw.choice(("\n", "\n\n")).join(blocks)
    names = {"org": draw.choice(_ORGANIZATIONS), "year": draw.randint(2009, 2024), "page": draw.randint(1, 12)}
    return style, text.format(site=names["org"].lower().replace(" ", ""), **names)  # type: ignore[attr-defined]


def _foreign(draw: random.Random) -> tuple[str, str]:
    language = draw.choice(LANGUAGES)
    sentences = draw.sample(_FOREIGN[language], draw.randint(2, 7))
    text = ("" if language in ("zh", "ja") else " ").join(s.format(n=draw.randint(2, 90)) for s in sentences)
    return language, text.upper() if draw.random() < 0.1 else text


KINDS = ("ocr_noise", "number_table", "boilerplate", "foreign")


def furniture(half: int) -> tuple[str, ...]:
    """The notices and menu entries of one half."""
    return tuple(text for blocks in (_COOKIES, _MENUS, _DISCLAIMERS, _FOOTERS) for text in blocks[half::2])


def junk(count: int, seed: int, half: int) -> pl.DataFrame:
    """`count` documents of each kind: kind, detail (severity, style or language), text.

    Args:
        count: at least 0.
        seed: another seed, other documents.
        half: 0 or 1, the half of the notices and menu entries that boilerplate is made of, so that phrases known from one
            half only can be tried on the other.
    """
    makers: Mapping[str, Callable[[random.Random], tuple[str, str]]] = {
        "ocr_noise": _ocr_noise,
        "number_table": _number_table,
        "boilerplate": lambda draw: _boilerplate(draw, half),
        "foreign": _foreign,
    }
    rows = [
        (kind, *makers[kind](random.Random(f"{kind} {seed} {number}"))) for kind in KINDS for number in range(count)
    ]
    return pl.DataFrame(rows, schema=["kind", "detail", "text"], orient="row")
