"""How often the analysis of a prompt agrees with a person: on prompts that its tables were made with, and on others.

Labels are one person's. Neighbouring complexities are a matter of taste, so two floors are stated: exact agreement,
and at most one level apart.
"""

from __future__ import annotations

from gateway.choose.policy import COMPLEXITIES
from gateway.choose.task import analyse

CODE_REVIEW = """Review this function and tell me what is wrong with it:
```python
def total(prices, cache={}):
    for p in prices:
        cache[p] = cache.get(p, 0) + p
    return sum(cache.values())
```
"""
MEETING = "Monday: the team met and talked about the delayed release and who calls the supplier. " * 12
INVOICE = "Invoice 2291, Acme Ltd, 14 March 2026, consulting 12 h at 140 EUR, total 1,680.00 EUR, due in 30 days. "

# prompt, domain, complexity; the tables were adjusted while looking at these.
TUNED = [
    ("Hi there!", "conversation", "simple"),
    ("Thanks a lot, that helped.", "conversation", "simple"),
    ("How are you today?", "conversation", "simple"),
    ("Bonjour, ça va ?", "conversation", "simple"),
    ("Hallo, wie geht es dir?", "conversation", "simple"),
    ("Tell me a joke", "conversation", "simple"),
    ("I feel a bit lonely this evening, can we chat?", "conversation", "simple"),
    ("What is the capital of Australia?", "knowledge", "simple"),
    ("Who wrote The Brothers Karamazov?", "knowledge", "simple"),
    ("When was the printing press invented?", "knowledge", "simple"),
    ("Was ist die Hauptstadt von Norwegen?", "knowledge", "simple"),
    ("¿Quién fue el primer presidente de México?", "knowledge", "simple"),
    ("Explain how vaccines work.", "knowledge", "simple"),
    ("Explain how a transistor amplifies a signal, and why bipolar and field-effect ones differ in input impedance.",
     "knowledge", "moderate"),
    ("Translate to German: The train leaves at nine.", "translation", "simple"),
    ("Übersetze ins Englische: Der Vertrag verlängert sich um ein Jahr.", "translation", "simple"),
    ("Traduis en anglais : Je voudrais réserver une table pour deux.", "translation", "simple"),
    ("How do you say 'good luck' in Spanish?", "translation", "simple"),
    ("Translate this legal clause into French. Keep defined terms exactly, never merge sentences, and mark with [?] "
     "everything without an equivalent: 'The Licensee shall indemnify the Licensor against all losses arising from a "
     "breach of Clause 7, save where caused by gross negligence.'", "translation", "moderate"),
    (f"Summarize this meeting in three sentences:\n{MEETING}", "summary", "simple"),
    (f"{MEETING}\n\nGive me the key takeaways of the above.", "summary", "simple"),
    ("Fasse den folgenden Text kurz zusammen: Der Stromverbrauch stieg im März um vier Prozent, weil es kalt war.",
     "summary", "simple"),
    (f"Extract the invoice number, the date and the total as JSON: {INVOICE}", "extraction", "simple"),
    ("Classify the sentiment as positive, negative or neutral: 'The app crashes all the time.'",
     "extraction", "simple"),
    (f"Extrahiere alle Beträge aus dieser Rechnung: {INVOICE}", "extraction", "simple"),
    ("Write a haiku about autumn", "writing", "simple"),
    ("Write a short email to my landlord asking to repair the heating.", "writing", "simple"),
    ("Write a cover letter for a data analyst position. Mention five years in retail and my move to Hamburg; keep a "
     "confident but modest tone.", "writing", "moderate"),
    ("Write a short story of about 800 words in which two sisters inherit a lighthouse. Tell it from the younger one's "
     "point of view, with an unreliable narrator, at least two scenes of dialogue and an ending without resolution.",
     "writing", "complex"),
    ("Schreibe ein Gedicht über den Winter", "writing", "simple"),
    ("Rewrite this sentence so that it sounds more polite: Send me the file now.", "writing", "simple"),
    ("Write a python function that reverses a string", "code", "simple"),
    ("How do I undo the last commit in git?", "code", "simple"),
    (CODE_REVIEW, "code", "moderate"),
    ("Write a SQL query that returns the three customers with the highest revenue per region in 2025, ties included.",
     "code", "moderate"),
    ("Implement an LRU cache in Python with O(1) get and put, type hints and unit tests.", "code", "moderate"),
    ("Implement a thread-safe rate limiter in Go with a token bucket per key, eviction of idle keys, and tests. "
     "It must "
     "handle bursts, never block longer than the deadline of the context, and have no global lock.", "code", "complex"),
    ("Design and implement a lock-free multi-producer queue in C++ and prove that it is linearizable. Discuss memory "
     "ordering, the ABA problem and reclamation, and give a benchmark.", "code", "expert"),
    ("Schreibe ein Skript in Python, das eine CSV-Datei einliest und doppelte Zeilen entfernt.", "code", "simple"),
    ("Refactor this class to use dependency injection and explain each change:\n```java\nclass A { B b = new "
     "B(); }\n```",
     "code", "moderate"),
    ("What is 17 * 23?", "math", "simple"),
    ("Calculate 15 percent of 240.", "math", "simple"),
    ("Solve 3x + 5 = 20 for x", "math", "simple"),
    ("A train travels 120 km in 1.5 hours. What is its average speed?", "math", "simple"),
    ("Compute the integral of x^2 * e^x from 0 to 1, step by step.", "math", "moderate"),
    ("Find the eigenvalues of the matrix [[2, 1], [1, 3]] and explain the method.", "math", "moderate"),
    ("Prove that the square root of 2 is irrational.", "math", "complex"),
    ("Beweise, dass es unendlich viele Primzahlen gibt.", "math", "complex"),
    ("Prove rigorously that every bounded sequence in a Hilbert space has a weakly convergent subsequence, and derive "
     "from it the existence of minimisers for coercive, weakly lower semicontinuous functionals.", "math", "expert"),
    ("Calcule la dérivée de x^3 + 2x", "math", "simple"),
    ("Anna is taller than Ben. Ben is taller than Carl. Who is the tallest?", "reasoning", "simple"),
    ("Solve this logic puzzle: five people sit in a row. Eva is not next to Tom. Kim sits left of Tom. Lea is at one "
     "end. Who can sit in the middle? List every possible arrangement.", "reasoning", "complex"),
    ("All cats are mammals. Some mammals are black. Can we conclude that some cats are black?",
     "reasoning", "moderate"),
    ("On an island of knights and knaves, A says 'B is a liar', B says 'A and C are of the same kind'. What is "
     "C? Deduce "
     "it step by step.", "reasoning", "complex"),
    ("Compare Postgres and MySQL for an analytics workload.", "analysis", "moderate"),
    ("What are the pros and cons of remote work for a small company?", "analysis", "moderate"),
    ("Analyse why our churn rose from 2 % to 3.5 % in the last quarter although prices did not change, and recommend "
     "what to measure next.", "analysis", "complex"),
    ("Vergleiche die Vor- und Nachteile von Wärmepumpe und Gasheizung für ein Altbauhaus.", "analysis", "moderate"),
    ("Evaluate the trade-offs of a multi-region active-active architecture for a payment system: consistency, "
     "failover, "
     "regulatory constraints in the EU, cost. Justify a recommendation and describe a migration roadmap with risks.",
     "analysis", "expert"),
    ("Analiza las ventajas y desventajas de la energía nuclear.", "analysis", "moderate"),
    ("List the planets of the solar system", "knowledge", "simple"),
    ("define entropy", "knowledge", "simple"),
    ("What's a good gift for a ten year old who likes dinosaurs?", "conversation", "simple"),
    ("Give me a critical analysis of the causal identification strategy in a difference-in-differences study with "
     "staggered adoption: which assumptions fail under heterogeneous effects, what estimators fix it, and how would "
     "you test for it? Derive the bias of the two-way fixed effects estimator.", "analysis", "expert"),
]  # fmt: skip

# Not looked at while tables and thresholds were adjusted to those above; nothing was changed for these.
UNSEEN = [
    ("hey, good morning", "conversation", "simple"),
    ("ok thank you, bye!", "conversation", "simple"),
    ("Hola, ¿cómo estás?", "conversation", "simple"),
    ("I'm bored. What should I do this weekend?", "conversation", "simple"),
    ("Who painted Guernica?", "knowledge", "simple"),
    ("How tall is Mount Kilimanjaro?", "knowledge", "simple"),
    ("What does 'amortisation' mean?", "knowledge", "simple"),
    ("Warum ist der Himmel blau?", "knowledge", "simple"),
    ("Quelle est la capitale du Canada ?", "knowledge", "simple"),
    ("Explain to a physics undergraduate why entropy increases, and how that is compatible with reversible laws.",
     "knowledge", "moderate"),
    ("Translate 'where is the station' into Italian", "translation", "simple"),
    ("Bitte ins Deutsche: We are pleased to confirm your order and will ship it on Friday.", "translation", "simple"),
    ("Traduce al inglés: Mañana no podré asistir a la reunión.", "translation", "simple"),
    ("TL;DR of this please: " + MEETING, "summary", "simple"),
    ("Résume ce texte en deux phrases : Les ventes ont augmenté de dix pour cent grâce aux nouveaux clients.",
     "summary", "simple"),
    ("Condense the following report to five bullet points for the board:\n" + MEETING, "summary", "simple"),
    ("Pull out all phone numbers and names from this text: Call Ann on 555-0134 or Bob on 555-0177.", "extraction",
     "simple"),
    ("Label each ticket as bug, question or feature request:\n1. It crashes\n2. Can I export?\n3. Please add dark mode",
     "extraction", "simple"),
    ("Return a JSON object with the fields name, email and company: 'Mia Roth, mia@roth.example, Roth GmbH'",
     "extraction", "simple"),
    ("Is this review positive or negative? 'Great battery, poor screen.'", "extraction", "simple"),
    ("Write a limerick about a cat", "writing", "simple"),
    ("Come up with a slogan for a bakery", "writing", "simple"),
    ("Rédige un email pour annuler mon abonnement.", "writing", "simple"),
    ("Draft a blog post of around 600 words on why small teams should write things down, with a personal anecdote, a "
     "headline and three section titles.", "writing", "moderate"),
    ("Proofread and improve this paragraph: our company are growing quick and we needs more peoples.", "writing",
     "simple"),
    ("Write a one-line bash command to count the files in a folder", "code", "simple"),
    ("Fix this error: TypeError: 'NoneType' object is not subscriptable in my Flask endpoint", "code", "moderate"),
    ("Convert this JavaScript to TypeScript:\n```js\nfunction add(a, b) { return a + b }\n```", "code", "simple"),
    ("Create a React component with a table that supports sorting, pagination and filtering, with tests.", "code",
     "moderate"),
    ("Write a function in Rust that parses a CSV line with quoted fields and escapes. It must not allocate per "
     "field and "
     "must report the column of an error. Add property tests.", "code", "complex"),
    ("Our Python service deadlocks under load. It uses a thread pool, a connection pool and a cache with a "
     "lock. Explain "
     "how to find the cause, and refactor the design so that deadlock is impossible.", "code", "complex"),
    ("Implement the Raft consensus algorithm in Go with leader election, log replication, snapshots and membership "
     "changes. Explain how you verify the invariants and handle network partitions.", "code", "expert"),
    ("Escribe una función en JavaScript que ordene una lista de objetos por fecha.", "code", "simple"),
    ("What is the square root of 144?", "math", "simple"),
    ("If I invest 1000 at 5% interest for 10 years, how much do I have?", "math", "simple"),
    ("What is the probability of rolling two sixes with two dice?", "math", "simple"),
    ("Differentiate f(x) = sin(x) * ln(x) and find its critical points on (0, 3).", "math", "moderate"),
    ("Löse das Gleichungssystem 2x + y = 7 und x - y = 2.", "math", "simple"),
    ("Show that the sum of the reciprocals of the primes diverges.", "math", "complex"),
    ("Derive the asymptotic distribution of the maximum likelihood estimator under misspecification and prove "
     "consistency of the sandwich variance.", "math", "expert"),
    ("Tom is older than Sue, and Sue is older than Max. Is Max younger than Tom?", "reasoning", "simple"),
    ("Three boxes are labelled apples, oranges and mixed; every label is wrong. You may draw one fruit. How do "
     "you label "
     "all boxes correctly? Explain your reasoning.", "reasoning", "moderate"),
    ("If all bloops are razzies and no razzies are lazzies, which conclusion must be true?", "reasoning", "moderate"),
    ("Here is a riddle: I speak without a mouth and hear without ears. What am I?", "reasoning", "simple"),
    ("Should we build or buy our billing system? We are a team of eight.", "analysis", "moderate"),
    ("Do a SWOT analysis of a regional bike-sharing company.", "analysis", "moderate"),
    ("Assess the impact of a 10 % tariff on a mid-size exporter of machine tools: margins, pricing power, "
     "supply chain, "
     "and possible responses. State your assumptions and rank the options.", "analysis", "complex"),
    ("Compare the monetary policy of the ECB and the Fed since 2008 and evaluate critically which was more effective, "
     "considering counterfactuals, identification problems and distributional effects.", "analysis", "expert"),
    ("Compare ces deux offres et recommande la meilleure : 30 € par mois pour 10 Go ou 45 € pour 50 Go.", "analysis",
     "moderate"),
    ("Analysiere die Ursachen der Verspätungen in diesem Quartal und empfiehl Maßnahmen.", "analysis", "moderate"),
    ("Name three rivers in Africa", "knowledge", "simple"),
    ("What's the difference between a virus and a bacterium?", "knowledge", "simple"),
    ("How does photosynthesis work?", "knowledge", "simple"),
    ("Give me a synonym for happy", "knowledge", "simple"),
    ("A 64-year-old on warfarin presents with fatigue, macrocytic anaemia and normal B12. Give a differential "
     "diagnosis "
     "with likelihoods, the pharmacokinetic interactions to consider, and the next tests with their justification.",
     "analysis", "expert"),
]  # fmt: skip


def agreement(labelled: list[tuple[str, str, str]]) -> tuple[float, float, float]:
    """Shares of right domains, right complexities, and complexities at most one level off."""
    domains = exact = near = 0
    for prompt, domain, complexity in labelled:
        task = analyse({"messages": [{"role": "user", "content": prompt}]}, "chat", len(prompt) // 4)
        apart = abs(COMPLEXITIES.index(task.complexity) - COMPLEXITIES.index(complexity))
        domains += task.domain == domain
        exact += apart == 0
        near += apart <= 1
    count = len(labelled)
    return domains / count, exact / count, near / count


def test_prompts_that_the_tables_were_made_with() -> None:
    domains, exact, near = agreement(TUNED)
    assert (domains >= 0.95, exact >= 0.85, near >= 0.98) == (True, True, True), (domains, exact, near)


def test_prompts_that_the_tables_were_not_made_with() -> None:
    domains, exact, near = agreement(UNSEEN)
    assert (domains >= 0.85, exact >= 0.75, near >= 0.95) == (True, True, True), (domains, exact, near)


def test_every_level_and_every_domain_is_told_apart_at_all() -> None:
    for domain in {domain for _, domain, _ in UNSEEN}:
        of_domain = [one for one in UNSEEN + TUNED if one[1] == domain]
        assert agreement(of_domain)[0] >= 0.6, domain
    for complexity in COMPLEXITIES:
        of_level = [one for one in UNSEEN + TUNED if one[2] == complexity]
        assert agreement(of_level)[1] >= 0.6, complexity
