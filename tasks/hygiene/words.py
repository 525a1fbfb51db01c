"""The classes of words by which leaks and refusals are told: English, some German, French, Spanish.

A class is a role in a sentence ("a word for an answer", "a word that finds fault"), not a topic.
`_` joins the words of a phrase.
"""

from __future__ import annotations

from tasks.hygiene.tags import lexicon

# Talk about an answer, in an answer.
ABOUT_ANSWERS = lexicon(
    {
        "ANSWER": "answer answers antwort réponse respuesta",
        "REPLY": """
            response responses reply replies version versions rewording rephrasing draft drafts
            revision revisions attempt fassung überarbeitung versión réécriture
        """,
        "MANNER": "tone wording phrasing ton way_to_say way_to_put way_of_saying",
        "TEXT": """
            statement sentence sentences text explanation definition content language paragraph
            summary formulation suggestion poem haiku advice remark claim claims jargon judgement
            judgment texte texto formulierung marks
        """,
        "REVISE": """
            revised rewritten rewrote reworded reworked rephrased revising rewriting improved
            updated edited corrected polished refined adjusted modified amended expanded shortened
            simplified reformulated restated restructured condensed softened toned_down redone
            changed clarified überarbeitete überarbeitet verbesserte verbessert korrigierte
            korrigiert umformuliert révisée révisé améliorée améliorer corrigée corrigé reformulée
            revisada revisado mejorada mejorado corregida corregido reescrita reescrito
        """,
        "REWRITE": """
            rewrite revise rephrase reword improve try_again start_over reformulate make change
            shorten expand soften simplify edit
        """,
        "CHANGE": """
            added removed replaced kept made fixed avoided avoids avoiding included changes edits
            modifications corrections adding removing keeping omitted left_out dropped änderungen
            geändert hinzugefügt changements cambios ajouté añadido
        """,
        "NEW": "new final alternative second another neue nouvelle nueva",
        "EARLIER": """
            original originals previous earlier first former initial prior draft's before last
            ursprüngliche vorherige erste originale précédente anterior primera
        """,
        "MORE": """
            more better kinder clearer shorter warmer friendlier simpler longer nicer gentler softer
            politer safer fuller stronger calmer concise polite helpful honest accurate informative
            engaging empathetic respectful neutral balanced complete clear precise natural formal
            readable useful less understandable easier fewer detailed clarity brevity politeness
            höflicher besser bessere kürzer klarer klarere polie meilleure claire mejor cortés
            höflichere
        """,
        "HERE": """
            here here's heres below following hier voici voilà aquí that's reads as_follows
            like_this
        """,
        "SURE": """
            sure certainly absolutely okay ok understood alright gladly of_course got_it noted right
            natürlich klar gerne gewiss bien_sûr claro por_supuesto sorry
        """,
        "THANKS": """
            thank thanks apologize apologise apologies danke merci gracias disculpa entschuldigung
        """,
        "REQUESTED": "requested asked suggested instructed wunsch demandé pedido",
        "I": "i i've i'd i'll i'm let_me ich je j'ai",
        "MY": "my our mine meine mon ma mi",
        "YOUR": "your deine ihre votre tu su",
        "WRITER": "assistant assistant's model ai chatbot bot assistent",
        "USER": "user users questioner asker nutzer utilisateur usuario",
        "OTHERS": "user's users' person's people's author's",
        "PERSON": "person reader people one",
        "ASKS": "asks wants seeks asking wanted is_asking",
        "OUGHT": """
            should should've could could've ought might must needs_to need_to would_have sollte
            könnte müsste devrait pourrait debería podría
        """,
        "NEEDS": "needs need needed requires room_for",
        "LACKS": """
            lacks lacking lacked fails failed failing misses missed omits ignores neglects missing
            overlooks offers_no gives_no provides_no contains_no does_not doesn't did_not didn't
            never nor leaves_out fehlt fehlen manque falta
        """,
        "FAULT": """
            too vague unclear incomplete inaccurate incorrect misleading rude harmful dismissive
            cold blunt generic unhelpful judgmental insensitive repetitive abrupt biased problematic
            inappropriate confusing wordy verbose superficial impolite redundant overly irrelevant
            curt weakness flaw fault problem problems issue issues flaws faults weaknesses wrong zu
            falsch unhöflich knapp trop incomplète demasiado incorrecta
        """,
        "GOOD": "correct good great fine well nice adequate appropriate already",
        "BECAUSE": "because since as therefore so weil car porque by",
        "CRITIQUE": "critique criticism feedback kritik",
        "REQUEST": """
            revision_request critique_request request requests task instruction instructions
        """,
        "ORDER": """
            please point_out identify write_only name_what write list_what explain_what ensure
            make_sure remove do_not say_what bitte
        """,
        "IS": "is was are were isn't wasn't ist war est be has_been",
        "IT": "it es das cela esto c'est",
        "THIS": "this these diese dieser cette ce esta",
        "THE": "the der die le la les el",
        "A": "a an eine une una un",
        "IF": "if when",
        "TO": "to so_that so_as in_order_to for um pour para",
        "BUT": "but however while although though yet aber mais pero",
        "NOT": "not no n't nicht pas nothing",
        "WOULD": "would würde serait sería",
        "WOULD_BE": "would_be",
        "OF": "of von de du",
        "YOU": "you yours you're",
        "HELPS": """
            adds makes explains shows acknowledges provides gives includes contains uses offers
            addresses follows respects
        """,
        "NOW": "now jetzt maintenant ahora",
        "NOTE": "note notes rationale reasoning justification comment hinweis remarque nota",
    }
)

# Declining to answer.
ABOUT_REFUSING = lexicon(
    {
        "I": """
            i i'm i'd i'll i've me my myself we we're we'd we'll our us ich mir mich wir je j'ai
            m'est moi mes nous mis mi
        """,
        "CANNOT": """
            cannot can't can_not unable incapable impossible not_able isn't_able aren't_able
            won't_be_able not_possible isn't_possible not_in_a_position no_can_do no_way_to
            not_capable couldn't_possibly kann_nicht kann nicht_möglich nicht_in_der unmöglich
            ne_peux_pas ne_peux ne_pouvons ne_puis no_puedo no_podemos no_es_posible imposible
            no_me_es incapaz don't_have_the lack lack_the don't_have_access
        """,
        "WILL_NOT": """
            won't will_not refuse decline declining refusing rather_not prefer_not refrain abstain
            not_going_to not_willing isn't_willing unwilling no_intention not_doing not_comfortable
            uncomfortable don't_feel_comfortable feel_comfortable not_happy_to not_prepared
            have_to_pass must_pass i'll_pass say_no not_touch draw_the_line do_not_wish
            don't_want_to don't_wish not_inclined not_interested not_participate not_be leaving_it
            but_not_with but_not_how
            stop_you hold_back werde weigere lehne möchte_nicht ablehnen refuse_de préfère
            préfère_ne ne_veux ne_vais me_niego prefiero rechazo no_quiero no_voy
        """,
        "MAY_NOT": """
            not_allowed not_permitted isn't_allowed not_authorized not_authorised mustn't must_not
            should_not shouldn't may_not forbidden prohibited not_supposed off_limits out_of_bounds
            off_the_table out_of_the out_of_the_question outside beyond can't_be_discussed
            permission no_permission not_something isn't_something not_within prevent prevents
            doesn't_allow does_not_allow not_allow don't_allow darf verboten nicht_erlaubt
            pas_autorisé interdit permiten prohibido no_me_permiten permettent
        """,
        "HELP": """
            help assist provide providing give giving share sharing answer answering explain
            explaining discuss discussing talk write writing create creating generate generating
            produce producing supply offer offering support supporting fulfil fulfill comply engage
            continue tell say reveal describe complete process respond helping assisting do doing
            participate facilitate encourage condone promote go_there speak disclose teach proceed
            cooperate accommodate advise show draft oblige grant honor honour entertain role-play
            role assistance beantworten helfen schreiben geben sagen erklären auskunft erfüllen
            unterstützen aider répondre fournir parler écrire donner ayudar ayudarte ayudarle
            proporcionar responder hablar dar escribir
        """,
        "THAT": """
            that this it such request question topic subject query prompt task ask demand requests
            details instructions content these those anything dabei dazu anfrage frage das dies
            cette ceci demande eso esto tema solicitud pregunta kind matter
        """,
        "POLICY": """
            policy policies guidelines guideline programming programmed principles ethics standards
            rules terms filter moderation restrictions conscience designed safety richtlinien
            vorgaben règles directives normas políticas principios
        """,
        "BLOCKED": "blocked error violates violate crosses goes_against against contravenes denied",
        "BAD": """
            illegal unethical harmful dangerous crime criminal hateful inappropriate irresponsible
            wrong immoral unsafe abusive offensive unacceptable never_acceptable never_okay
            never_appropriate acceptable law
        """,
        "CAN_HELP": """
            can_help can_assist can_do can_share can_offer can_give can_provide can_explain can_tell
            can_write can_create can_suggest can_show can_certainly can_definitely can_also
            will_help
            i'll_help love_to_help happy_to_help glad_to_help able_to_help let_me
        """,
        "FINE": """
            not_illegal isn't_illegal not_wrong isn't_wrong never_wrong nothing_wrong not_unethical
            not_immoral not_harmful isn't_harmful not_dangerous isn't_dangerous not_unsafe
            not_a_crime isn't_a_crime not_inappropriate not_against nothing_illegal not_offensive
        """,
        "ADVISE": """
            reconsider instead suggest consider encourage_you urge recommend_that alternatives
        """,
        "CRISIS": """
            crisis helpline hotline alone reach_out counselor counsellor someone_you_trust suicide
            professional lifeline
        """,
        "SORRY": """
            sorry apologies apologize apologise afraid unfortunately sadly regret respectfully
            regrettably leider tut_mir_leid désolé malheureusement lo_siento lamento
            desafortunadamente regrette
        """,
        "FIGURE": """
            wait believe stress emphasize emphasise agree imagine think stop recommend thank lie
            bore help_but enough warten attendre agradecer esperar overstate praise resist deny
            complain remember for_certain for_sure certain
        """,
        "ELSE": "something_else change_the_subject someone_else elsewhere anything_else",
        "AI": "ai language_model assistant chatbot llm ki-modell ki ia",
        "YOU": "you your you'd you're one man on du sie vous tu usted ihnen",
        "NO": "no nope nah never nein non absolutely_not certainly_not no_way not_a_chance",
        "NOT": "not don't doesn't do_not isn't aren't nicht pas keine kein ne",
        "BUT": "but however yet though although while so because therefore as aber mais pero",
        "SURE": "happy certainly of_course gladly yes course worries problem",
        "JOKE": "joking kidding just_kidding joke jk scherz",
        "SAID": """
            said says whispered replied asked shouted told wrote thought writes sang answers words
            word could_write sagte dit dijo response
        """,
        "PAST": "was were had did been could_not couldn't went found since have_been was_unable",
        "HE": "he she they him her them king everyone people users someone who",
        "BEFORE": """
            feelings body taste colour favourite favorite emotions opinion doctor lawyer expert sure
            know idea
        """,
        "WILLING": "can will could may would",
        "IS": "is are be ist est es sont",
        "IF": "if when",
        "TO": "to with for",
        "THE": "the a an der die le la el una",
    }
)
