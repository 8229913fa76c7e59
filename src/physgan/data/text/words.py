"""Words that rendered pages are made of, and sentences drawn from them.

The sentences mean nothing and are not meant to: a restorer has to learn letters, words and the look
of a page, in several languages and scripts, without learning any text by heart.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

_VOCABULARY: Mapping[str, str] = {
    "en": """
    the of and a to in is for that with as are on be this by we from an which it at can or not
    have has our was these were their also between more one using such each two other than when
    been set used where into its all only may results model data method image number function
    based system time value show given case first different new however order problem following
    section form figure since process analysis approach algorithm large point then most over
    both same any example under through three if but so local global energy surface light field
    theory estimate network state distance random small high low linear matrix vector space
    error noise kernel convolution measure measured sample spectrum frequency phase boundary
    condition solution equation integral derivative limit bound proof lemma theorem definition
    corollary observe consider assume suppose denote let obtain derive compute computed compare
    comparison performance quality result experiment experimental evaluation table shown left
    right above below respectively therefore thus hence moreover furthermore because although
    while during after before within without against language speech text word sentence document
    page paper author journal conference university department research science engineering
    technology information computer software hardware memory processor parallel distributed
    server client protocol packet traffic node graph tree edge path query database index search
    user interface design structure object class type variable program code compiler language
    logic rule agent learning training test accuracy rate probability distribution density
    variance mean expected likelihood prior posterior hypothesis parameter population growth
    market price cost policy government economic social human history culture patient treatment
    clinical cell protein gene species temperature pressure water ocean climate atmosphere wind
    soil plant animal food health risk control group study period year month day early late long
    short fast slow simple complex general special important possible necessary sufficient
    similar equal constant fixed free strong weak open closed finite infinite positive negative
    real natural rational optimal minimal maximal average total partial direct inverse quickly
    jump lazy fox brown zebra quartz vex box wizard judge major keyboard jazz exact equip
    """,
    "de": """
    der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an
    werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum
    war haben nur oder aber vor zur bis mehr durch man sein wurde Größe Maß Fläche Lösung
    Gleichung Bild Rauschen Straße Übung Prüfung Änderung Wärme Körper Geschwindigkeit
    Wissenschaft Verfahren Ergebnis Abbildung Tabelle Beispiel Verteilung Wahrscheinlichkeit
    Zustand möglich nötig häufig größer weiß heißt schließlich natürlich Jahr Tag Mensch Stadt
    Land Haus Weg Zeit Welt
    """,
    "fr": """
    de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il sont
    avec ou son mais comme on être cette aux ont été même leur deux ses fait peut entre très où
    après méthode résultat équation lumière théorème démonstration énergie température façon
    français élève état étude années problème système modèle donnée image où déjà ça voilà
    théorie élément façade cœur œuvre garçon forêt hôpital août naïf bientôt reçu dû à côté
    général première dernière
    """,
    "es": """
    de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le
    ha me si sin sobre este ya entre cuando todo esta ser son dos también fue había era muy años
    hasta desde está mi porque qué sólo han yo hay vez puede todos así nos ni parte tiene él uno
    donde bien tiempo mismo ecuación señal imagen niño español año método análisis corazón
    página número
    """,
    "cs": """
    a se v na je že o s z do i to k ve pro za by ale si po jako podle od jsou které byl jeho
    který nebo už jen také však při může rok mezi není která být pouze svou obraz rovnice řešení
    číslo věta důkaz příklad přístup světlo šum žádný člověk město práce život ještě těžký
    křivka něco úloha
    """,
    "pl": """
    w i z na nie się do to że jest o jak po co za od tak przez dla jego ale tylko oraz może czy
    był który już ich jej go jako tym być przy więc także obraz równanie światło twierdzenie
    dowód przykład liczba wartość człowiek życie miasto książka żaden źródło łódź ćwiczenie gęś
    pięć
    """,
    "ru": """
    и в не на я быть с он что а по это она этот к но они мы весь который из у то за свой от так
    для ты же все тот мочь вы человек такой его сказать или бы себя один как уже до время если
    сам когда другой вот говорить наш мой знать стать при чтобы дело жизнь кто первый очень два
    день уравнение решение изображение функция теорема доказательство пример шум свет ядро
    спектр объект
    """,
    "el": """
    και το να του η της με που την από για τα είναι των σε ο οι στο θα τη στην τον τους δεν τις
    ένα μια ότι ή στη κατά αυτό όπως μας πολύ όταν όλα ήταν μόνο εικόνα εξίσωση λύση φως θόρυβος
    θεώρημα απόδειξη παράδειγμα αριθμός χρόνος άνθρωπος πόλη ζωή λόγος κόσμος έργο μέθοδος ψυχή
    ύλη
    """,
}

WORDS: Mapping[str, tuple[str, ...]] = {
    language: tuple(text.split()) for language, text in _VOCABULARY.items()
}

# English most of the time, as in the literature; the rest in equal parts.
_LANGUAGES = ("en",) * 14 + tuple(language for language in WORDS if language != "en")


def draw_language(rng: Random, scripts: frozenset[str]) -> str:
    """A language whose script is among `scripts`: `latin`, `cyrillic`, `greek`."""
    while True:
        language = rng.choice(_LANGUAGES)
        if script_of(language) in scripts:
            return language


def script_of(language: str) -> str:
    """The script that a language of `WORDS` is written in."""
    return {"ru": "cyrillic", "el": "greek"}.get(language, "latin")


def word(language: str, rng: Random) -> str:
    """A word; the first ones of a vocabulary, which are the language's commonest, come oftener."""
    words = WORDS[language]
    return words[int(len(words) * rng.random() ** 1.6)]


def sentence(language: str, rng: Random) -> list[str]:
    """The words of a sentence with capital, commas, numbers, citations and a full stop."""
    result: list[str] = []
    for place in range(rng.randint(5, 24)):
        kind = rng.random()
        if kind < 0.02:
            token = f"[{rng.randint(1, 60)}]"
        elif kind < 0.05:
            token = number(rng)
        elif kind < 0.06:
            token = f"({word(language, rng)}"
            result.append(token)
            token = f"{word(language, rng)})"
        elif kind < 0.07:
            token = word(language, rng).upper()
        elif kind < 0.09:
            token = f"{word(language, rng)}-{word(language, rng)}"
        else:
            token = word(language, rng)
        if place == 0:
            token = token[:1].upper() + token[1:]
        if kind > 0.93:
            token += rng.choice(",,,,;:")
        result.append(token)
    result[-1] = result[-1].rstrip(",;:") + rng.choice(".......?!")
    return result


def number(rng: Random) -> str:
    """A number as papers print them."""
    style = rng.randrange(6)
    if style == 0:
        return str(rng.randint(0, 9999))
    if style == 1:
        return f"{rng.uniform(0, 100):.{rng.randint(1, 4)}f}"
    if style == 2:
        return f"{rng.randint(1, 99)}%"
    if style == 3:
        return f"{rng.randint(1900, 2030)}"
    if style == 4:
        return f"{rng.randint(1, 999)},{rng.randint(0, 999):03d}"
    return f"−{rng.uniform(0, 10):.2f}"
