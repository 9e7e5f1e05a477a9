"""Signs a person can name: words and phrasings that point to a domain, as features of the trained model.

Written by hand, whole words only, in Arabic and English. How much each counts is learned (`training/`), not said here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from paios.base.text import stem
from paios.base.types import Domain

# How telling → words. English words stand for their plain inflections, Arabic ones for their light stem.
_WORDS: dict[Domain, dict[float, str]] = {
    "code": {
        3: """python javascript typescript kotlin rust golang php ruby sql html css regex debug refactor compiler dockerfile
           github codebase pytest django flask numpy backend frontend c++ c# bash leetcode mypy eslint git traceback
           stacktrace segfault div programming coding json yaml npm fastapi postgres بايثون جافا جافاسكريبت سكربت سكريبت
           برمجه برمجي خوارزميه كود اكواد مبرمج ريجكس كودي""",
        2: """code bug java function variable array algorithm compile docker kubernetes repository repo api endpoint
           middleware syntax script exception unittest webhook orm dataframe parser recursion recursive hashmap mutex async
           await pandas react node crud cli sdk linter boolean داله دوال متغير مصفوفه استعلام كلاس مستودع ديباق بج باك
           فرونت دوكر""",
        1: """class method loop database schema query deploy implement commit merge branch module server terminal shell linux
           error crash test parse program pipeline component library developer migration makefile xml csv null pointer
           thread stack framework unit pr import software website webpage app ويب خطا استثناء سيرفر خادم حلقه برنامج تطبيق
           اختبارات مطور واجهه موقع بيانات""",
        0.6: "fix add build optimize run اصلح صحح عدل نفذ",
    },
    "creative": {
        3: """poem haiku sonnet limerick lyrics screenplay monologue tagline slogan roleplay fictional ode jingle parody
           poetic fairytale acrostic lullaby rap myth قصيده شعر حكايه ابيات مسرحيه تغريده تدوينه""",
        2: """story tale fable novel fiction pretend imagine rhyme compose brainstorm tweet caption metaphor dialogue fantasy
           sci blog essay protagonist villain dragon wizard verse eulogy toast creative invent قصه روايه شعار سيناريو تخيل
           تخيلي خيالي منشور مقال مقاله تهنئه صغ خاطره خطبه ابتكر""",
        1: """write draft speech character song letter plot joke post bio headline advert ad brand rewrite poster invitation
           humorous greeting storyline name names script instagram linkedin newsletter alien detective ending catchy
           wedding hero اكتب اكتبي حوار رساله نكته اعلان اقترح عباره اغنيه دعوه اسم بطل ابداعي تسويقي صياغه الف انستقرام
           انستغرام""",
    },
    "analysis": {
        3: "analyze analyse analysis summarize summarise tldr sentiment swot حلل تحليل لخص تلخيص لخصي حللي",
        2: """compare comparison contrast evaluate assess summary classify categorize paraphrase interpret calculate solve
           equation integral derivative probability median statistic correlation proof prove reasoning disadvantage
           tradeoff dataset hypothesis argument category predict syllogism قارن مقارنه ملخص صنف تصنيف احسب معادله احتمال
           ايجابيات سلبيات مزايا عيوب استنتج برهن اثبت استخرج قيم تقييم ناقش احصاء وازن""",
        1: """review percent percentage average trend metric kpi pros cons advantage implication impact claim evidence logic
           strategy risk revenue extract verify paragraph passage article report data sentence contract survey cause infer
           theorem triangle growth reviewer topic paper essay feedback profit بيانات نسبه متوسط اسباب تاثير اثر تقرير ارباح
           ايرادات مخاطر استراتيجيه حجه مساله فقره نص فرق ايهما جدوي عقد مقال حل""",
        0.5: "text main explain why true false decide difference نقاط رييسيه اشرح",
    },
    "vision": {
        3: "image photo photograph pictured screenshot depicted صوره صور لقطه",
        2: "picture painting jpg jpeg png selfie ocr لوحه",
        1: """drawing diagram chart visible shown handwriting scan scanned scene caption meme describe see color wearing
           screen رسمه مخطط شاشه وصف صف تري يظهر""",
    },
    "system": {
        3: """volume mute unmute brightness wifi roomba bluetooth thermostat brighten dim clipboard reboot wallpaper shutdown
           vacuum shuffle سطوع مروحه ستاره ستاير مكيف اكتم كتم مكنسه بلوتوث مصباح لمبه اطفي طفي""",
        2: """light lamp pause coffee speaker playlist music radio louder quieter launch folder desktop trash rename battery
           disk cpu restart setting plug socket spotify airplane vpn unzip uninstall heater curtain lock unlock garage
           hotspot laptop اضاءه اضواء انوار نور ضوء شغل شغلي موسيقي راديو مجلد بطاريه اعدادات صوت جراج كراج اخفض خفض ولع
           اغلق افتح لابتوب""",
        1: """song audio play skip track album tv fan door open close quit app file files download ram screen turn stop window
           tab browser print printer usb install process kill kitchen bedroom bathroom sound tone lower raise increase
           storage memory mac dark bright delete move copy device room processes clean اغنيه اغاني تشغيل ايقاف اوقف باب
           غرفه مطبخ صاله مشهد ملف ملفات شاشه متصفح تطبيق جهاز كمبيوتر حاسوب ارفع علي زود وطي قفل انقل انسخ احذف ثبت العب
           استمع الحان البوم تلفاز تلفزيون صمام شباك سكر نزل معيشه نوم كهرباء""",
        0.5: "living house home temperature repeat next bring حراره درجه قهوه اضبط",
    },
    "schedule": {
        3: """alarm calendar remind reminder timer appointment snooze reschedule منبه تذكير ذكرني ذكريني موقت تقويم موعد
           مواعيد موعدي صحيني رزنامه""",
        2: """schedule meeting agenda postpone wake standup deadline recurring clock اجتماع اجتماعات ايقظني صحني فيقني تنبيه""",
        1: """tomorrow monday tuesday wednesday thursday friday saturday sunday appointments event invite birthday dentist
           todo task noon am pm busy slot cancel chore january february april june july august september october november
           december غدا بكره بكرا صباحا مساء الساعه اثنين ثلاثاء اربعاء خميس جمعه سبت احد مهام مهمه جدول احجز دقيقه دقايق
           اجل الغي غفوه لقاء""",
        0.5: """morning afternoon evening tonight today week minute hour day set book plan add remove list notify due call اليوم
           اسبوع اضف اضبط الليله ساعه""",
    },
    "search": {
        3: "weather traffic news forecast nearby showtimes طقس اخبار ابحث ابحثي",
        2: """search headline rain raining sunny cloudy humid humidity stock price exchange currency restaurant nearest
           closest flight hotel latest google concert temperature dollar euro theater theatre cinema snow directions
           cheapest umbrella مطر ستمطر تمطر امطار جو اجواء رطوبه توقعات سعر اسعار اقرب مطعم مطاعم سينما فندق فنادق اعثر
           زحمه ثلج مشمس غايم دولار طيران سهم اسهم""",
        1: """find near rate movie cafe pub shop store score game match current currently recent happening ticket buy degree
           distance route train bus recommend lookup online city downtown delivery event playing museum bitcoin share
           website source cost won release bank park local area town hot cold storm wind price حراره قريب قريبه فيلم افلام
           عرض اوقات مباراه مباريات نتيجه احدث حاليا مرور طريق صرف خبر عاصف رياح بارد حار معلومات جد رحله رحلات اشتري عنوان
           قطار باص متجر بورصه فاز حجز""",
        0.5: "best time where value live open top number event الان اخر افضل اين وين فين",
    },
    "general": {
        2: "hello hi thanks translate مرحبا شكرا اهلا ترجم ترجمي السلام",
        1: """advice tip recipe cook healthy meaning define capital planet feel bored opinion favorite yourself believe habit
           language breakfast meal exercise joke fact life world love god history learn health نصيحه نصايح وصفه طبخ معني
           عاصمه حياه حقيقه صحه نكته رايك تعلم كوكب""",
    },
}

# (domain, what it shows, English, Arabic): matched on the normalised instruction, each language only where it occurs
_PATTERNS: tuple[tuple[Domain, str, str, str], ...] = (
    (
        *("code", "a programming task"),
        r"\b(unit tests?|pull request|stack ?overflow|linked list|binary (search|tree)|regular expression|"
        r"time complexity|for loop|"
        r"command line|web (app|server|scraper)|source code|data structure|merge conflict|type hints?|(login|"
        r"sign ?up) form)\b",
        r"قاعده (ال)?بيانات|تعبير نمطي|لغه (ال)?برمجه|صفحه (ال)?ويب|اختبار(ات)? (ال)?وحد|رساله (ال)?خطا|هيكل بيانات",
    ),
    (
        *("creative", "a role to play"),
        r"(^|[.\n] *)(imagine|pretend|suppose) (that )?(you|your|a|an|the)\b|^you are (a|an|the)\b|"
        r"\b(take|play|assume) (on )?the role\b|\bact as\b|\b(in|with) the (style|voice) of\b",
        r"\bتخيلي? (ان|نفسك|انك)|\bبصفتك|\bتقمص|\bعلي لسان\b",
    ),
    (
        *("creative", "a text to write"),
        r"\b(write|compose|draft|create|give me|come up with|make up|continue) (me )?(a|an|some|the|this|my|two|"
        r"three|five|\d+) "
        r"(\w+ ){0,2}(story|poem|song|letter|speech|e-?mail|message|post|slogans?|names?|ideas?|titles?|jokes?|"
        r"essay|note|caption|"
        r"invitation|text|myth|legend)\b",
        r"\b(اكتب|الف|صغ|اقترح|اعطني)\w* (لي )?(\w+ )?(رساله|قصه|قصيده|خطاب|بريد|منشور|اسم|اسماء|شعار|عنوان|مقدمه|"
        r"كلمه|نص|اعلان|بطاقه|نكته|"
        r"ابيات|اغنيه)",
    ),
    (
        *("creative", "a name to find"),
        r"\b(names?|titles?|slogans?|ideas) for (a|an|my|our|the)\b|\bname (my|our|this) \w+",
        r"\bاسم(اء)? ل\w+|\bافكار ل\w+",
    ),
    (
        *("creative", "something to draw"),
        r"\b(draw|paint|design|generate|create|sketch) (me )?(an? |the )?(\w+ ){0,2}(image|picture|logo|"
        r"illustration|poster)",
        r"\b(ارسم|صمم)\w* (لي )?(\w+ )?(صوره|لوحه|شعار|بطاقه)",
    ),
    (
        *("analysis", "a judgement to make"),
        r"\bpros and cons\b|\bdifferences? between\b|\b(key|main) (points|takeaways|ideas?|arguments?)\b|"
        r"\btrue or false\b|\bvs\.?\s|"
        r"\bgood or bad\b|\b(positive|negative)(,| or| and)|\bwhich (one )?is (better|best|more)\b|\bshould (i|"
        r"we) .{0,80} or\b|"
        r"\bis it (worth|better)\b|\bstep by step\b|\ba good idea\b|\bon a scale\b|\b(1|one) (to|and) (5|five|10|"
        r"ten)\b|"
        r"\b(decide|determine|predict|check) (whether|if|the)\b|\bgiven a list\b",
        r"ما (هو )?(ال)?فرق|\bالفرق بين|ايهما|(ايجابيات|مزايا|مميزات) و|\bما (هي )?اسباب|خطوه بخطوه|الافكار الرييسيه|"
        r"النقاط (ال)?رييسيه|اهم النقاط|ما رايك في (هذا|هذه)|\bام\b",
    ),
    (
        *("analysis", "given material"),
        r"\b(following|given|this|these|below|above) (\w+ ){0,2}(text|article|paragraph|passage|report|e-?mail|"
        r"review|sentences?|"
        r"data|document|paper|transcript|table|contract|news|numbers|essay|claim|argument)\b",
        r"(هذا|هذه) (ال)?(نص|مقال|فقره|تقرير|بريد|جدول|عقد|مراجعه|ارقام|بيانات)|"
        r"ال(نص|مقال|فقره|تقرير|بريد|مراجعه|جدول|رساله|ارقام|خبر|عقد)( \w+)? (التالي|التاليه|هذا|هذه|ادناه)",
    ),
    (
        *("analysis", "a calculation"),
        r"\d\s*[+*/^×÷=]\s*\d|\d\s*%|\bhow (many|much) .{0,80}\b(if|than|left|altogether|total|each|per)\b|"
        r"^if\b(?=.*\d).{0,80}\b(how|what|when)\b",
        r"\d\s*[+*/^×÷=]\s*\d|\d\s*[%٪]|\bكم .{0,80} (اذا|لو)\b|\b(اذا|لو) .{0,80} \bكم\b",
    ),
    (
        *("vision", "a picture named"),
        r"\b(in|on|from|of|at) (the|this|that|my|each|these|both) (\w+ )?(image|photo|picture|screenshot|painting|"
        r"photograph|drawing)|"
        r"\bthis (image|photo|picture|screenshot|painting)\b|\b(attached|above) (image|photo|picture)|\bimages? \d",
        r"(في|من|علي|هذه|بهذه) (ال)?(صوره|صور|لقطه|لوحه)|(الصوره|اللقطه) (المرفقه|هذه)",
    ),
    (
        *("vision", "a look to take"),
        r"\b(describe|read|identify|recognize) (the|this|what)\b|\bwhat do you see\b",
        r"\bماذا تري\b|\bصف (لي )?(ما|ال|هذه)",
    ),
    (
        *("system", "the computer's files and screen"),
        r"\b(take|grab|capture) (a |me )?(\w+ )?screenshot|\b(move|rename|organi[sz]e|delete|copy|sort|"
        r"back ?up) .{0,80}\b(files?|folders?|"
        r"photos|pictures|desktop|downloads)\b|\b(free up|how much) (disk |free |some )?(space|storage|memory|ram)",
        r"\b(خذ|خذي|التقط|صور) .{0,80}شاشه|سطح المكتب|(انقل|رتب|نظم|احذف|انسخ|امسح) .{0,80}(ملف|ملفات|مجلد|صور|محذوفات)",
    ),
    (
        *("system", "a device to act on"),
        r"\b(turn|switch|power|shut|crank|bring) (\w+ ){0,4}(on|off|up|down)\b|\bput on\b|\b(dark|silent|sleep|"
        r"airplane|night|focus) mode\b|"
        r"\bdo not disturb\b|\bwi-?fi\b|\btoo (loud|quiet|dark|bright)\b|\b(make|start|brew|"
        r"get) (\w+ ){0,4}coffee\b|\b(on|off)$|"
        r"\bmake it (\w+er|\w+ lit)\b|\bwarmer|cooler\b",
        r"واي فاي|(اعاده|اعد) (ال)?تشغيل|وضع (ال)?(صامت|ليلي|طيران|داكن|سكون|تخفي)|لا ازعاج|\b(ارفع|اخفض|علي|وطي|"
        r"زد|زود) (ال)?صوت|"
        r"\b(فعل|تفعيل|تشغيل) (ال)?(مشهد|وضع)",
    ),
    (
        *("system", "music to play"),
        r"^(\w+ )?(play|resume|stream)\b|\bplay (me |some|the|a|my)\b|\b(want|like) to (hear|listen)",
        r"^(العب|اسمعني|سمعني|شغل)\b",
    ),
    (
        *("system", "a room"),
        r"\b(in|at) the (kitchen|living room|bedroom|bathroom|office|house|garage|apartment)\b",
        r"(في |ب)(ال)?(غرفه|مطبخ|صاله|حمام|مكتب|بيت|منزل)",
    ),
    (
        *("schedule", "a time"),
        r"\b\d{1,2}([:.]\d\d)? ?(am|pm|a\.m|p\.m)\b|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|"
        r"twelve|\d+) (am|pm|o'clock)\b",
        r"\b(الساعه|ساعه) \d|\d+ (صباحا|مساء)",
    ),
    (
        *("schedule", "your time"),
        r"\bam i (free|busy|available)\b|\b(my|our) (\w+ly )?(day|week|month|afternoon|morning|evening|plans?|"
        r"next meeting)\b|"
        r"\bdo i have (any|anything|a|an|to|coming)\b|\b(what|when)\b.{0,60}\bmy\b.{0,60}\b(today|tomorrow|week|day|next)\b|"
        r"\bset (up )?(a|an|my|the)? ?(alarm|timer|meeting|reminder)|\bin \d+ (minutes?|hours?)\b|"
        r"\bremember .{0,80}\b(on|at)\b",
        r"(ماذا|ما|ايش|شو|وش) (لدي|عندي)|هل (لدي|عندي|انا (مشغول|متفرغ))|بعد \d+ (دقيق|دقايق|ساع)|عيد ميلاد|"
        r"\b(اجل|تاجيل|بتاجيل)\b",
    ),
    (
        *("search", "something current"),
        r"\b(what'?s?|who) (is |are )?(going on|happening|new)\b|\b(going|happening) (on )?(in|around|near)\b|"
        r"\b(right|open) now\b|"
        r"\bnear (me|here|by)\b|\bwho won\b|\blook(ing)? (up|for)\b|\bthis (weekend|year)'?s?\b|\bhow far\b|"
        r"\b(now|currently|today)$|"
        r"\bhow (do|can) (i|we) get (to|from)\b|\b(is|will|does) it (be |going to )?(rain|snow|hot|cold|sunny|"
        r"warm|freez\w+|over|under)|"
        r"\b20[2-9]\d\b|\bin theaters?\b|\bhow (hot|cold|warm) (is|will)|\b(cold|hot|warm|weather) outside\b|"
        r"\brelease date\b",
        r"(بالقرب|قريب) (مني|من)|ما (هو|هي)? ?(اخر|احدث)|اخر (ال)?(اخبار|اصدار|تطورات)|هل (س|سوف )?\w*(مطر|بارد|"
        r"حار|برود|مشمس|ثلج)|"
        r"كم (سعر|درجه|تبعد|يبعد)|من (فاز|ربح)|درجه حراره (ال)?(جو|خارج)|\bمتي (ينزل|يصدر|يبدا|يعرض|تعرض)",
    ),
    (
        *("general", "small talk"),
        r"\bhow are you\b|\bwho (are|made|created) you\b|\byour (name|favou?rite|opinion)\b|\bgood (morning|"
        r"evening|night)\W*$|"
        r"\bwhat do you think\b|\btell me (a joke|about (yourself|you))\b|\bdo you (like|know|have|think|feel|"
        r"believe)\b|\bare you\b|"
        r"\bcan you (help|talk|speak)\b|\bi('m| am| feel)? (so )?(sad|bored|tired|lonely|happy)\b",
        r"كيف حالك|من انت\b|ما اسمك|صباح الخير|مساء الخير|كيفك|هل (انت|تحب|تعرف)|السلام عليكم|\b(حاسس|اشعر|احس) ب",
    ),
    (
        *("general", "a question of common knowledge"),
        r"^(so |and |ok |hey )?(what|who|why|how|when|where) (is|are|was|were|do|does|did|can|come|to|would|"
        r"should)\b|"
        r"\btell me (something|about|how|why)\b|\bexplain\b|\bwhat'?s\b",
        r"^(ما|من|ماذا|لماذا|كيف|متي|ليش|اشرح|اخبرني عن|وش|شو|ايش|كم عدد)\b",
    ),
    (
        *("general", "a translation"),
        r"\btranslate\b|\bhow do (you|i) say\b|\b(in|to|into) (arabic|english|french|spanish|german|turkish)\b",
        r"(الي |ب)(ال)?(لغه )?(ال)?(انجليزيه|عربيه|فرنسيه|اسبانيه|تركيه)",
    ),
)

_LATIN = re.compile("[a-z]")
_ARABIC = re.compile("[ء-ي]")


def found(folded: str, words: Sequence[str]) -> list[tuple[str, str]]:
    """The hints in a normalised instruction and its *words*, as (the hint's name, what it shows)."""
    hints = []
    in_latin, in_arabic = _LATIN.search(folded) is not None, _ARABIC.search(folded) is not None
    for arabic in (False,) * in_latin + (True,) * in_arabic:
        hints += [(f"p:{domain}:{shows}", shows) for domain, shows, pattern in _patterns(arabic) if pattern.search(folded)]
    for word in dict.fromkeys(words):
        lexicon = _lexicon(not word.isascii())
        key = word if word in lexicon else stem(word) if not word.isascii() else word.removesuffix("'s")
        hints += [(f"l:{domain}:{rank}", f"“{word}”") for domain, rank in lexicon.get(key, ())]
    return hints


@cache  # one language at a time: the start is paid by everybody, the other language only by who writes it
def _lexicon(arabic: bool) -> dict[str, tuple[tuple[Domain, float], ...]]:
    """Every form of every word with what it speaks for."""
    found: dict[str, dict[Domain, float]] = defaultdict(dict)
    for domain, by_weight in _WORDS.items():
        for weight, listed in by_weight.items():
            for word in listed.split():
                if word.isascii() is not arabic:
                    for form in _forms(word):
                        found[form].setdefault(domain, weight)
    return {word: tuple(by_domain.items()) for word, by_domain in found.items()}


def _forms(word: str) -> tuple[str, ...]:
    if not word.isascii():
        return word, stem(word)
    if len(word) < 3 or not word.isalpha():
        return (word,)
    if word.endswith("y"):
        return word, word + "s", word[:-1] + "ies", word[:-1] + "ied", word + "ing"
    if word.endswith("e"):
        return word, word + "s", word + "d", word[:-1] + "ing"
    return word, word + "s", word + "es", word + "ed", word + "ing", word + word[-1] + "ing", word + word[-1] + "ed"


@cache
def _patterns(arabic: bool) -> tuple[tuple[Domain, str, re.Pattern[str]], ...]:
    return tuple((domain, shows, re.compile(ar if arabic else en)) for domain, shows, en, ar in _PATTERNS)
