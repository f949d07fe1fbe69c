"""Words that say little by themselves: the function words of six languages, and the filler of English prose."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    # Apostrophes are left out, as they are where texts are read: don't is "dont".
    return frozenset(text.replace("'", "").split())


FUNCTION: Mapping[str, frozenset[str]] = {
    "English": _words(
        """
        a about after all also am an and any are as at be because been before being both but by can could did do does
        done during each either else every few for from had has have having he her here hers him his how i if in into
        is it its itself just less let may me might more most much must my neither no nor not now of off on once one
        only onto or other others our ours out over own per quite rather same shall she should since so some still
        such than that the their theirs them then there these they this those though through thus to too under until
        up upon us very was we were what whatever when where whether which while who whom whose why will with within
        without would yet you your yours yourself don't doesn't didn't isn't aren't can't won't it's i'm you're that's
        there's let's
        """
    ),
    "German": _words(
        """
        aber alle als also am an auch auf aus bei beim bin bis da damit dann das dass dein dem den denn der des dich
        die dies diese diesem diesen dieser dieses dir doch du durch ein eine einem einen einer eines er es etwas euch
        für gegen haben hat hatte ich ihm ihn ihnen ihr ihre im in ist ja jede jeder kann kein keine können man mehr
        mein mich mir mit muss nach nicht noch nun nur ob oder ohne sehr sein seine sich sie sind so soll über um und
        uns unter vom von vor war waren was weil welche wenn wer werden wie wir wird wo zu zum zur zwischen
        """
    ),
    "French": _words(
        """
        alors au aussi autre aux avec avait avoir c'est ce cela ces cet cette chaque comme dans de des donc dont du
        elle elles en encore est et était être eu il ils je l'on la là le les leur leurs lui mais même mes moi mon ne
        ni nos notre nous on ont ou où par pas peut plus pour qu'il quand que quel quelle qui sa sans se ses si son
        sont sur ta te tes toi ton tous tout très tu un une vos votre vous y à été d'un d'une n'est
        """
    ),
    "Spanish": _words(
        """
        al algo ante así aunque cada como con cual cuando de del desde donde dos el ella ellos en entre era es esa ese
        eso esta está están este esto estos fue ha hay hasta la las le les lo los más me mi muy ni no nos nosotros
        nuestro o otra otro para pero poco por porque que qué quien se ser si sí sin sino sobre son su sus también tan
        tanto te tiene todo todos tu un una uno unos y ya yo
        """
    ),
    "Italian": _words(
        """
        agli ai al alla alle anche c'è che chi ci come con cosa così cui da dal dalla degli dei del della delle di
        dove e è ed era essere fa fra gli ha hanno i il in io la le lei lo loro ma mi mia mio molto ne nei nel nella
        noi non nostro o ogni per perché più poi può quale quando questa questo qui sarà se sei si sia sono sta su sua
        sul sulla suo tra tu tutti tutto un una uno
        """
    ),
    "Dutch": _words(
        """
        aan al alle als bij dan dat de deze die dit doen door een en er geen had hebben heeft hem het hier hij hoe hun
        ik in is ja je kan maar me meer men met mij mijn moet na naar niet nog nu of om omdat ook op over te tegen
        toch toen tot u uit van veel voor want waren was wat we wel werd wie wij worden zal ze zelf zich zij zijn zo
        zonder zou
        """
    ),
}

# Said of anything, and so of nothing in particular. A sentence that has hardly any other word is filler.
GENERIC: frozenset[str] = FUNCTION["English"] | _words(
    """
    ability able absolutely according account actually add additional additionally again ago ahead almost along already
    although always among amount answer anyone anything apply approach appropriate area areas around ask asked asking
    aspect aspects attention available aware away back bad based basic basically basis become becomes begin beginning
    behind believe best better beyond big bit bring broad broadly brought called came care careful carefully carries
    case cases certain certainly chance change clear clearly come comes common commonly complete completely complex
    concept concepts conclude conclusion connected consider considerable consideration considerations considered
    considering context continue course day days deal deep deeply definitely depend depending depends describe detail
    details difference different differently difficult discuss discussed easily easy effective effectively effort else
    end enough ensure entire entirely especially essential essentially even ever everybody everyone everything
    everywhere evident exactly example examples exist exists expect explain explore fact factor factors fairly far feel
    final finally find finding finds fine first firstly follow following follows form former forward found full fully
    fundamental further furthermore future general generally get gets getting give given gives giving go goes going good
    great greatly hand hands happen happens happy hard hardly help helpful helps hence hold holds hope however huge idea
    ideas imagine immediately importance important importantly include including indeed individual information instance
    instead interest interested interesting involve involved issue issues journey keep keeping key kind kinds knew know
    knowing known large last lastly later lead leads learn least left life like likely line little long look looking
    looks lot lots made main mainly major make makes making manner many matter matters maybe mean meaningful means
    mention mentioned merely mind moment moreover multiple namely nature near necessarily necessary need needed needs
    never nevertheless new next nice nobody none nonetheless normal normally note noted nothing notice number numerous
    obvious obviously occur often okay old open opinion opinions order ordinary otherwise overall part particular
    particularly parts people perfect perhaps person perspective perspectives place play plays please point points
    position possible possibly potential potentially practice present pretty previous probably problem problems proceed
    process proper properly provide provided purpose put question questions quick quickly quote range reach read ready
    real reality realize really reason reasons recall reference regard regarding regardless relate related relatively
    relevant remain remains remember require required requires respect respond response result results right role said
    saw say saying says second secondly see seeing seem seems seen sense sentence sentences separate serious seriously
    serve several short show shown shows side significant significantly similar similarly simple simply single situation
    situations small somebody somehow someone something sometimes somewhat soon sort specific specifically start started
    state stated statement statements step steps stop straightforward strong stuff subject subjects sum summarise
    summarize summary sure take taken takes taking talk tell tend term terms text thank thanks thing things think
    thinking thinks third thought thoughts thousand time times today together told topic topics touch toward towards
    true truly try trying turn twice two type types typical typically ultimately understand understanding understood
    unique unless unlike unlikely usually use used useful uses using usual valuable value variety various vast view
    views vital want wants way ways well went whole wide widely wise word words work works world worth worthwhile write
    writing written wrong yes
    """
)

# Languages by the names under which they are asked for.
LANGUAGES: Mapping[str, str] = {
    "english": "English", "englisch": "English", "englische": "English", "anglais": "English", "inglés": "English",
    "german": "German", "deutsch": "German", "deutsche": "German", "allemand": "German", "alemán": "German",
    "french": "French", "französisch": "French", "französische": "French", "français": "French", "francés": "French",
    "spanish": "Spanish", "spanisch": "Spanish", "spanische": "Spanish", "espagnol": "Spanish", "español": "Spanish",
    "italian": "Italian", "italienisch": "Italian", "italienische": "Italian", "italien": "Italian",
    "italiano": "Italian", "dutch": "Dutch", "niederländisch": "Dutch", "nederlands": "Dutch",
}  # fmt: skip

NUMBERS: Mapping[str, int] = {
    name: number
    for number, names in enumerate(
        (
            (), ("one", "single"), ("two",), ("three",), ("four",), ("five",), ("six",), ("seven",), ("eight",),
            ("nine",), ("ten",), ("eleven",), ("twelve", "dozen"),
        )
    )
    for name in names
}  # fmt: skip

# What begins a sentence and hardly ever stands in the middle of one with a capital; of titles, some do.
OPENERS: frozenset[str] = _words(
    """
    Additionally All Also Although And As At Because Besides But By Clearly Consequently Every Everything Finally First
    For Furthermore Generally Hence Here However If In Indeed It Lastly Like Many Maybe Moreover Most Nevertheless
    Nobody Of Often On One Overall Perhaps Please Some Sometimes Such That Then There Therefore These They This Those
    Thus To Typically Ultimately Usually We What When Where While With You
    Any Another Are Can Could Did Do Does Each Even Feel Given Having He Her His Hope Is Its Just Keep Let My Never Note
    Once Our Remember She Should Still Their Though Until Was Were Would Yet Your
    """
)
IN_TITLES: frozenset[str] = frozenset(
    ("All", "Also", "And", "As", "At", "Because", "But", "By", "Every", "Everything", "First", "For", "If", "In",
     "Like", "Many", "Most", "Of", "On", "One", "Some", "Such", "That", "Then", "Those", "To", "What", "When", "Where",
     "While", "With")
)  # fmt: skip
