"""Three hundred words in English, German and French, each with one meaning here."""

from __future__ import annotations

_TEXT = """
house Haus maison; water Wasser eau; bread Brot pain; tree Baum arbre; dog Hund chien; cat Katze chat;
bird Vogel oiseau; horse Pferd cheval; cow Kuh vache; fish Fisch poisson; apple Apfel pomme; pear Birne poire;
cherry Kirsche cerise; lemon Zitrone citron; grape Traube raisin; onion Zwiebel oignon; potato Kartoffel patate;
carrot Karotte carotte; bean Bohne haricot; rice Reis riz; cheese Käse fromage; butter Butter beurre; milk Milch lait;
egg Ei œuf; salt Salz sel; sugar Zucker sucre; honey Honig miel; soup Suppe soupe; meat Fleisch viande;
sausage Wurst saucisse; cake Kuchen gâteau; wine Wein vin; beer Bier bière; coffee Kaffee café; tea Tee thé;
knife Messer couteau; fork Gabel fourchette; spoon Löffel cuillère; plate Teller assiette; bottle Flasche bouteille;
glass Glas verre; cup Tasse tasse; table Tisch table; chair Stuhl chaise; bed Bett lit; lamp Lampe lampe;
window Fenster fenêtre; door Tür porte; wall Wand mur; roof Dach toit; floor Boden plancher; stair Treppe escalier;
kitchen Küche cuisine; garden Garten jardin; street Straße rue; bridge Brücke pont; city Stadt ville;
village Dorf village; country Land pays; river Fluss rivière; lake See lac; sea Meer mer; island Insel île;
mountain Berg montagne; valley Tal vallée; forest Wald forêt; meadow Wiese pré; field Feld champ; stone Stein pierre;
sand Sand sable; fire Feuer feu; smoke Rauch fumée; wind Wind vent; rain Regen pluie; snow Schnee neige;
ice Eis glace; cloud Wolke nuage; storm Sturm tempête; sun Sonne soleil; moon Mond lune; star Stern étoile;
sky Himmel ciel; earth Erde terre; world Welt monde; day Tag jour; night Nacht nuit; morning Morgen matin;
evening Abend soir; week Woche semaine; month Monat mois; year Jahr année; hour Stunde heure;
spring Frühling printemps; summer Sommer été; autumn Herbst automne; winter Winter hiver; monday Montag lundi;
friday Freitag vendredi; sunday Sonntag dimanche; man Mann homme; woman Frau femme; child Kind enfant;
mother Mutter mère; father Vater père; sister Schwester sœur; brother Bruder frère; friend Freund ami;
neighbour Nachbar voisin; king König roi; queen Königin reine; doctor Arzt médecin; teacher Lehrer enseignant;
baker Bäcker boulanger; farmer Bauer fermier; judge Richter juge; soldier Soldat soldat; pupil Schüler élève;
guest Gast invité; head Kopf tête; hair Haar cheveu; eye Auge œil; ear Ohr oreille; nose Nase nez; mouth Mund bouche;
tooth Zahn dent; tongue Zunge langue; neck Hals cou; arm Arm bras; hand Hand main; finger Finger doigt;
heart Herz cœur; blood Blut sang; bone Knochen os; leg Bein jambe; foot Fuß pied; skin Haut peau; shirt Hemd chemise;
trousers Hose pantalon; coat Mantel manteau; hat Hut chapeau; shoe Schuh chaussure; sock Socke chaussette;
dress Kleid robe; glove Handschuh gant; ring Ring bague; key Schlüssel clé; clock Uhr horloge; mirror Spiegel miroir;
book Buch livre; letter Brief lettre; paper Papier papier; pencil Bleistift crayon; newspaper Zeitung journal;
picture Bild image; song Lied chanson; music Musik musique; game Spiel jeu; ball Ball ballon; school Schule école;
church Kirche église; hospital Krankenhaus hôpital; market Markt marché; bank Bank banque; shop Laden magasin;
factory Fabrik usine; office Büro bureau; station Bahnhof gare; airport Flughafen aéroport; harbour Hafen port;
ship Schiff navire; boat Boot bateau; train Zug train; car Auto voiture; bicycle Fahrrad vélo;
aeroplane Flugzeug avion; wheel Rad roue; road Weg route; map Karte carte; journey Reise voyage;
suitcase Koffer valise; money Geld argent; price Preis prix; bill Rechnung facture; contract Vertrag contrat;
customer Kunde client; work Arbeit travail; meeting Sitzung réunion; question Frage question; answer Antwort réponse;
word Wort mot; sentence Satz phrase; language Sprache langage; number Zahl nombre; name Name nom;
truth Wahrheit vérité; lie Lüge mensonge; dream Traum rêve; thought Gedanke pensée; joy Freude joie; fear Angst peur;
anger Wut colère; hope Hoffnung espoir; love Liebe amour; hatred Hass haine; luck Glück chance; pain Schmerz douleur;
illness Krankheit maladie; health Gesundheit santé; life Leben vie; death Tod mort; war Krieg guerre;
peace Frieden paix; law Gesetz loi; freedom Freiheit liberté; power Macht pouvoir; electricity Strom électricité;
energy Energie énergie; heat Wärme chaleur; cold Kälte froid; light Licht lumière; shadow Schatten ombre;
colour Farbe couleur; red rot rouge; blue blau bleu; green grün vert; yellow gelb jaune; black schwarz noir;
white weiß blanc; grey grau gris; big groß grand; small klein petit; long lang long; short kurz court; high hoch haut;
deep tief profond; wide breit large; narrow schmal étroit; heavy schwer lourd; easy leicht facile;
fast schnell rapide; slow langsam lent; old alt vieux; young jung jeune; new neu nouveau; good gut bon;
bad schlecht mauvais; beautiful schön beau; ugly hässlich laid; rich reich riche; strong stark fort;
weak schwach faible; healthy gesund sain; ill krank malade; clean sauber propre; dirty schmutzig sale;
dry trocken sec; wet nass mouillé; warm warm chaud; full voll plein; empty leer vide; open offen ouvert;
closed geschlossen fermé; quiet leise calme; loud laut bruyant; sweet süß sucré; bitter bitter amer;
sharp scharf tranchant; round rund rond; tired müde fatigué; happy glücklich heureux; sad traurig triste;
clever klug intelligent; stupid dumm stupide; brave mutig courageux; free frei libre; expensive teuer cher;
cheap billig bonmarché; to-eat essen manger; to-drink trinken boire; to-sleep schlafen dormir;
to-speak sprechen parler; to-read lesen lire; to-write schreiben écrire; to-hear hören entendre; to-see sehen voir;
to-go gehen aller; to-come kommen venir; to-run laufen courir; to-swim schwimmen nager; to-fly fliegen voler;
to-buy kaufen acheter; to-sell verkaufen vendre; to-give geben donner; to-take nehmen prendre; to-find finden trouver;
to-lose verlieren perdre; to-seek suchen chercher; to-think denken penser; to-know wissen savoir;
to-understand verstehen comprendre; to-learn lernen apprendre; to-teach lehren enseigner; to-laugh lachen rire;
to-cry weinen pleurer; to-sing singen chanter; to-play spielen jouer; to-win gewinnen gagner; to-pay zahlen payer;
to-count zählen compter; to-measure messen mesurer; to-build bauen construire; to-break brechen casser;
to-close schließen fermer; to-begin beginnen commencer; to-end enden finir; to-wait warten attendre;
to-help helfen aider; to-ask fragen demander; to-cook kochen cuisiner; to-wash waschen laver; to-cut schneiden couper;
to-carry tragen porter; to-pull ziehen tirer; to-push drücken pousser
"""

_ROWS = [tuple(row.split()) for row in _TEXT.replace("\n", " ").split(";")]

ENGLISH: tuple[str, ...] = tuple(row[0].replace("to-", "to ") for row in _ROWS)
GERMAN: tuple[str, ...] = tuple(row[1] for row in _ROWS)
FRENCH: tuple[str, ...] = tuple(row[2] for row in _ROWS)
