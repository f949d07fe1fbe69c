"""Words that tell what a prompt asks for, in English, German, French and Spanish: one table each, read once.

A line is a weight and words of that weight. What people write in the imperative counts more where it stands, at the
beginning or the end of a prompt; that is `gateway.choose.task`'s business. Words of a length such as "200 words" and
of shortness move the expected length of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.choose.catalogue import DOMAINS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DOMAINS = {
    "code": """
        3.0 refactor refactored refactoring debug debugging traceback stacktrace segfault sql postgresql mysql sqlite
        3.0 python javascript typescript java kotlin golang rust php ruby perl bash powershell c++ html css react django
        3.0 flask fastapi numpy pandas regex dockerfile kubernetes yaml terraform api endpoint nullpointerexception
        2.5 code coding codebase function functions programm programmiere programme programar script skript código
        2.5 codigo funktion fonction función funcion compile compiler compilation unittest pytest junit git github
        2.0 implement implements implementing implementation implementiere implementieren implémente implémenter
        2.0 implementa implementar bug bugs fehlermeldung exception algorithm algorithmus algorithme algoritmo
        2.0 microservice microservices multithreaded mutex deadlock async await goroutine iterator linter
        1.5 class classes method methods array arrays loop schleife boucle bucle variable variables string struct
        1.5 backend frontend database datenbank query queries abfrage requête consulta json xml csv parser parse
        1.0 library framework server client thread threads cache queue test tests unit deploy pipeline repository
    """,
    "math": """
        3.0 integral integrals derivative derivatives differentiate eigenvalue eigenvalues eigenvector matrix matrices
        3.0 polynomial polynomials theorem theorems lemma corollary trigonometric logarithm factorial binomial calculus
        3.0 algebra geometry probability wahrscheinlichkeit probabilité probabilidad equation equations gleichung
        3.0 équation ecuación ecuacion ableitung dérivée derivada intégrale hypotenuse modulo gcd prime primes primzahl
        2.5 prove proof beweise beweis démontre démontrer démontrez preuve demuestra demostrar demostración convergence
        2.0 calculate compute berechne berechnen calcule calculer calculez calcula calcular solve löse lösen résous
        2.0 résoudre résolvez resuelve resolver divided multiplied squared cubed percent percentage prozent pourcentage
        1.5 sum product ratio fraction average mean median variance triangle circle radius area volume angle speed
        1.0 number numbers zahl zahlen nombre número integer integers divisible km mph interest discount
    """,
    "reasoning": """
        3.0 puzzle puzzles riddle rätsel énigme acertijo logic logical logik logique lógica syllogism paradox knights
        3.0 knaves deduce deduction infer inference folgere déduis deduce liar truthful contradiction
        2.0 premise premises conclusion conclude assume suppose angenommen supposons supongamos therefore reasoning
        1.5 taller older younger heavier faster exactly lies lying truth implies sits seated left right next
        1.0 consistent clues clue possible impossible hypothesis constraint constraints schedule strategy optimal
    """,
    "analysis": """
        3.0 analyse analyze analyses analysing analyzing analysis analysiere analysieren analyser analysez analiza
        3.0 analizar análisis analisis compare comparison vergleiche vergleichen vergleich comparer comparez comparaison
        3.0 compara comparar comparación evaluate evaluation bewerte bewerten évalue évaluer evalúa evaluar
        2.5 assess assessment critique critically tradeoff tradeoffs swot pros cons vorteile nachteile avantages
        2.5 inconvénients ventajas desventajas recommend recommendation empfehle recommande recomienda
        2.0 strategy strategic strategie stratégie estrategia implications impact auswirkungen forecast trends trend
        2.0 risks risk risiken risques riesgos diagnose investigate interpret feasibility review
        1.5 market markt marché mercado revenue churn quarter quarterly stakeholders architecture architektur
        1.0 data daten données datos metrics report cause causes options
    """,
    "writing": """
        3.0 poem gedicht poème poema story geschichte histoire cuento historia essay aufsatz dissertation ensayo novel
        3.0 haiku sonnet limerick lyrics song screenplay blog slogan tagline headline newsletter cover copywriting
        3.0 rewrite rephrase paraphrase proofread umformulieren reformule reformuler reformula reformular
        2.0 write writing written draft compose schreibe schreib schreiben verfasse verfassen écris écrire écrivez
        2.0 rédige rédiger rédigez escribe escribir redacta redactar email e-mail letter brief lettre carta speech
        2.0 discours discurso rede article artikel
        1.5 tone tonfall ton tono polite formal persuasive humorous creative character dialogue scene chapter verse
        1.0 paragraph paragraphs post tweet linkedin announcement caption
    """,
    "translation": """
        5.0 translate translated translating translation translations übersetze übersetzen übersetzung übersetz traduis
        5.0 traduire traduisez traduction traduce traducir traduzca traducción traduccion
        1.5 english german french spanish italian portuguese japanese chinese russian arabic dutch polish englisch
        1.5 deutsch französisch spanisch italienisch anglais allemand français espagnol inglés ingles alemán aleman
        1.5 francés frances español espanol italiano
    """,
    "summary": """
        5.0 summarise summarize summarised summarized summarising summarizing summary summaries tldr zusammenfassen
        5.0 zusammenfassung résume résumer résumez résumé resume resumir resúmelo resumen condense
        2.0 recap shorten key takeaways essence highlights gist
        1.0 points main document article meeting transcript
    """,
    "extraction": """
        4.0 extract extracts extracting extraction extrahiere extrahieren extrais extraire extrayez extrae extraer
        3.0 classify classification label labels categorise categorize klassifiziere klassifizieren classe classifie
        3.0 classer clasifica clasificar sentiment entities entity ner parse identify identifiziere identifie identifica
        2.0 fields field invoice rechnung facture factura names dates addresses emails phone columns column table
        1.0 json csv schema keys values spam
    """,
    "conversation": """
        3.0 hello hi hey hallo moin servus bonjour salut hola buenas thanks thank danke merci gracias bye goodbye
        2.0 tschüss feel feeling lonely chat joke witz blague chiste morning evening
        2.5 friend bored birthday gift gifts
        1.0 please ok okay yes no nice cool you your weekend dinner suggest
    """,
    "knowledge": """
        2.5 capital hauptstadt capitale define definition definiere définis définition definición meaning bedeutet
        2.0 explain explains explanation erkläre erklär erklären explique expliquer expliquez explica explicar describe
        2.0 beschreibe décris describe invented discovered president founded born died population history capital
        1.0 what who when where which why how was wer wann wo wie warum welche welches quel quelle qui quand où pourquoi
        1.0 comment qué que quién quien cuándo cuando dónde donde cuál cual cómo como difference unterschied différence
    """,
}  # fmt: skip

# Phrases whose words mean little by themselves.
_PHRASES = """
    code: 2.5 time complexity | 2.5 big o | 3.0 unit test | 3.0 stack trace | 3.0 pull request | 2.5 data structure
    code: 3.0 linked list | 3.0 binary search | 2.5 command line | 3.0 shell script | 3.0 rest api | 2.0 rate limiter
    math: 2.0 how many | 2.0 how much | 2.5 what is the probability | 2.5 square root | 2.5 standard deviation
    math: 2.0 wie viele | 2.0 wie viel | 2.0 combien de | 2.0 cuántos | 2.0 cuántas | 2.0 cuanto es | 2.0 cuánto es
    reasoning: 2.5 who is the | 3.0 logic puzzle | 3.0 brain teaser | 2.0 can we conclude | 2.0 which of the following
    reasoning: 2.5 must be true | 2.0 next to
    analysis: 2.5 root cause | 3.0 trade-off | 3.0 pros and cons | 2.5 advantages and disadvantages | 2.5 case study
    analysis: 2.0 vor- und nachteile | 2.0 should we | 2.0 business plan | 2.0 what are the risks
    writing: 3.0 cover letter | 3.0 blog post | 3.0 product description | 3.0 press release | 2.5 make this sound
    writing: 2.5 fix the grammar | 2.5 correct the grammar | 2.0 job description | 2.5 in the style of
    translation: 4.0 into english | 4.0 into german | 4.0 into french | 4.0 into spanish | 4.0 in french | 4.0 in german
    translation: 4.0 in spanish | 4.0 auf englisch | 4.0 auf deutsch | 4.0 ins englische | 4.0 ins deutsche
    translation: 4.0 en anglais | 4.0 en français | 4.0 al inglés | 4.0 al español | 4.0 how do you say
    summary: 5.0 fasse | 5.0 fass | 4.0 sum up | 4.0 tl;dr | 3.0 main points | 3.0 key points | 3.0 key takeaways
    summary: 3.0 puntos clave | 3.0 points clés
    extraction: 3.0 as json | 3.0 pull out | 2.5 find all | 2.5 list all the | 2.5 positive or negative
    extraction: 2.5 positive, negative | 2.5 positiv oder negativ
    conversation: 3.0 how are you | 3.0 wie geht | 3.0 ça va | 3.0 cómo estás | 3.0 tell me about yourself
    conversation: 3.0 who are you | 2.5 what should i
    knowledge: 0.7 what is | 0.7 what are | 1.5 who was | 1.5 who wrote | 1.5 was ist | 1.5 qu'est | 1.5 qué es
    knowledge: 1.5 tell me about | 1.5 how does | 1.5 why is | 1.5 why do | 1.5 difference between
"""

# Each asks for more thought than its length tells.
_DEPTH = """
    1.9 prove proof beweise beweis démontre démontrer démontrez demuestra demostrar
    1.4 derive derivation theorem rigorous rigorously formally axiom axioms asymptotic asymptotically
    1.4 herleitung leite rigoureusement deriva
    1.4 linearizability linearizable byzantine paxos raft crdt lock-free lockfree wait-free np-hard np-complete
    1.4 heteroskedasticity eigendecomposition homomorphic homomorphism manifold riemannian hilbert banach galois
    1.4 lagrangian hamiltonian navier cohomology topology measure-theoretic martingale
    1.4 stochastic
    1.4 pharmacokinetics pharmacokinetic differential diagnosis backpropagation
    1.4 cryptographic zero-knowledge verifier soundness counterexample induction
    1.0 architecture architektur arquitectura distributed verteiltes verteilten concurrency concurrent consensus
    1.0 scalable scalability fault-tolerant multi-region sharding replication idempotent tradeoff tradeoffs trade-off
    1.0 trade-offs optimise optimize optimal optimization optimierung optimisation optimización complexity invariants
    1.0 invariant regulatory compliance jurisdiction gdpr valuation counterfactual causal causality confounding
    1.0 bayesian econometric identification equilibrium game-theoretic elasticity hypothesis statistical significance
    0.7 design entwirf entwerfe conçois concevoir diseña diseñar implement implementiere thorough thoroughly in-depth
    0.7 comprehensive comprehensively detailed detailliert détaillé détaillée detallado ausführlich strategy strategie
    0.7 critically evaluate justify begründe justifie justifica migrate migration security threat edge production
    0.7 concurrent efficient efficiently performance benchmark constraints integral eigenvalues convergence probability
    0.5 analyse analyze analysis analysiere analiza compare
    0.5 vergleiche compara why warum pourquoi refactor debug recommend
    0.5 recommendation empfehle recommande recomienda possible every
    0.7 puzzle rätsel deduce deduis island contradiction
    0.7 knaves knights
    0.5 multiple several reason reasoning essay implications multi-step end-to-end roadmap evaluation
"""

# Each asks for less.
_EASY = """
    1.0 hello hi hey hallo bonjour hola thanks thank danke merci gracias bye ok okay
    0.8 capital hauptstadt capitale synonym synonyms spell spelling antonym define abbreviation
    0.5 simple simply quick quickly short einfach kurz simplement simplemente rápido brief briefly eli5
"""

# A word of a condition that the answer must keep.
CONSTRAINTS = _words(
    """must exactly without only never always ensure require requires required requirements should within
    between unless avoid muss müssen mindestens genau ohne nur niemals immer doit doivent moins exactement sans
    seulement jamais toujours debe deben menos exactamente sin solo sólo nunca siempre maximum minimum limit given
    under constraint constraints handle support"""
)

# Words of a length, and how many tokens each is of.
LENGTHS: Mapping[str, float] = {
    "word": 1.4, "words": 1.4, "wörter": 2.0, "wörtern": 2.0, "worten": 2.0, "worte": 2.0, "mots": 1.6,
    "palabras": 1.6, "sentence": 26.0, "sentences": 26.0, "sätze": 32.0, "sätzen": 32.0, "satz": 32.0,
    "phrases": 28.0, "phrase": 28.0, "frases": 28.0, "frase": 28.0, "paragraph": 110.0, "paragraphs": 110.0,
    "absätze": 130.0, "paragraphes": 120.0, "párrafos": 120.0, "lines": 14.0, "zeilen": 14.0, "lignes": 14.0,
    "bullet": 28.0, "bullets": 28.0, "pages": 650.0, "page": 650.0, "seiten": 750.0, "tokens": 1.0,
}  # fmt: skip
COUNTS: Mapping[str, int] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10, "single": 1, "a": 1,
    "ein": 1, "einen": 1, "einem": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "zehn": 10, "un": 1, "une": 1,
    "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "dix": 10, "una": 1, "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5,
    "diez": 10,
}  # fmt: skip
BRIEF = _words("brief briefly concise concisely short shortly kurz knapp brièvement bref breve brevemente")
LONG = _words(
    "detailed detail comprehensive thorough thoroughly in-depth extensively ausführlich detailliert détaillé "
    "détaillée detallado exhaustive complete full"
)

# What callers call their tasks in `merit.task`, where it is not a domain's own name.
SYNONYMS: Mapping[str, str] = {
    "coding": "code", "programming": "code", "sql": "code", "maths": "math", "mathematics": "math",
    "logic": "reasoning",
    "analytical": "analysis", "analytics": "analysis", "creative": "writing", "copywriting": "writing",
    "translate": "translation", "summarise": "summary", "summarize": "summary", "summarisation": "summary",
    "summarization": "summary", "classification": "extraction", "extract": "extraction", "chat": "conversation",
    "conversational": "conversation", "support": "conversation", "qa": "knowledge", "question": "knowledge",
    "easy": "simple", "trivial": "simple", "medium": "moderate", "hard": "complex", "difficult": "complex",
}  # fmt: skip


def _weights(table: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in table.strip().splitlines():
        weight, *words = line.split()
        for word in words:
            found[word] = max(found.get(word, 0.0), float(weight))
    return found


def _by_word() -> dict[str, tuple[tuple[int, float], ...]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for domain, table in _DOMAINS.items():
        for word, weight in _weights(table).items():
            found.setdefault(word, []).append((DOMAINS.index(domain), weight))
    return {word: tuple(pairs) for word, pairs in found.items()}


def _by_first_word() -> dict[str, tuple[tuple[str, int, float], ...]]:
    found: dict[str, list[tuple[str, int, float]]] = {}
    for line in _PHRASES.strip().splitlines():
        domain, _, phrases = line.strip().partition(": ")
        for one in phrases.split(" | "):
            weight, _, phrase = one.strip().partition(" ")
            first = phrase.replace("'", " ").replace("-", " ").replace(";", " ").replace(",", " ").split()[0]
            found.setdefault(first, []).append((phrase, DOMAINS.index(domain), float(weight)))
    return {first: tuple(phrases) for first, phrases in found.items()}


# Word → (number of the domain, weight) pairs; first word of phrases → (phrase, number of the domain, weight).
WORDS = _by_word()
PHRASES = _by_first_word()
DEPTH = _weights(_DEPTH)
EASY = _weights(_EASY)
