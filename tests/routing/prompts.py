"""Requests whose domain nobody would argue about: what any good model must get right, however it was trained."""

from __future__ import annotations

from paios.base.types import Domain

PLAIN: dict[Domain, tuple[str, ...]] = {
    "code": (
        "fix the failing unit test in auth.py",
        "refactor this Python function so that it uses a generator",
        "write a SQL query that counts the orders of each customer",
        "debug this JavaScript promise, it never resolves",
        "how do I undo the last git commit?",
        "اكتب دالة بايثون تعكس سلسلة نصية",
        "كيف أرجع آخر commit في git؟",
        "عندي خطأ في كود جافاسكريبت، كيف أصلحه؟",
    ),
    "creative": (
        "write me a poem about the sea",
        "come up with five names for a coffee shop",
        "write a short story about a dragon who is afraid of fire",
        "draft a wedding toast for my brother",
        "اكتب قصيدة عن الوطن",
        "اقترح أسماء لمتجر عطور",
        "ألف قصة قصيرة عن تنين يخاف من النار",
    ),
    "analysis": (
        "compare renting and buying a flat",
        "summarize this article in three bullets",
        "what are the pros and cons of remote work?",
        "classify these reviews as positive or negative",
        "لخص هذا المقال في ثلاث نقاط",
        "قارن بين الشراء والإيجار",
        "حلل أسباب انخفاض المبيعات",
    ),
    "vision": (
        "what is in this picture?",
        "read the text in the screenshot",
        "describe the photo I attached",
        "ماذا يوجد في هذه الصورة؟",
        "صف الصورة المرفقة",
    ),
    "system": (
        "turn off the bedroom lights",
        "set the volume to 30 percent",
        "mute the laptop",
        "شغل المكيف",
        "ارفع صوت التلفزيون",
        "أطفئ أنوار غرفة النوم",
    ),
    "schedule": (
        "remind me to call mom at 6",
        "what's on my calendar tomorrow?",
        "set an alarm for 7 am",
        "move my dentist appointment to Thursday",
        "ذكرني أتصل بأمي الساعة ستة",
        "أجل موعد طبيب الأسنان إلى الخميس",
    ),
    "search": (
        "what's the weather in Cairo tomorrow?",
        "latest news about the elections",
        "find cheap flights from Paris to Rome",
        "what is the price of gold right now?",
        "آخر أخبار الانتخابات",
        "ابحث عن رحلات رخيصة من باريس إلى روما",
        "كم سعر الذهب الآن؟",
    ),
    "general": (
        "hi, how are you?",
        "how do I cook rice?",
        "what is the capital of Australia?",
        "مرحبا كيف حالك؟",
        "كيف أطبخ الأرز؟",
        "ما هي عاصمة أستراليا؟",
    ),
}
ROWS: tuple[tuple[Domain, str], ...] = tuple((domain, text) for domain, texts in PLAIN.items() for text in texts)

MAIL = """\
Hi Sam,

the meeting on Monday at 9 am moved to Tuesday, please put it in your calendar and set a reminder. The weather forecast says
rain, and the flight price went up again. I also turned off the lights in the office before I left.

Best,
Jo"""
LOG = """\
2026-03-03 02:14:07 INFO shop-web GET /cart 200 5123
2026-03-03 02:14:09 ERROR shop-web upstream prematurely closed connection while reading response header
2026-03-03 02:14:12 WARN payments retrying charge, attempt 2 of 3
2026-03-03 02:14:15 ERROR payments TimeoutError: gateway did not answer within 3000 ms"""
CODE = """\
def total(orders):
    amount = 0
    for order in orders:
        if order.paid:
            amount += order.price
    return amount"""
ARTICLE = """\
الرياض - أعلنت الشركة أمس أن أرباحها ارتفعت بنسبة عشرة في المئة مقارنة بالعام الماضي. وقال مديرها إن الطلب على منتجاتها زاد
في الأسواق المجاورة. ومن المنتظر أن تفتح الشركة ثلاثة مصانع جديدة خلال العامين المقبلين، وأن توظف نحو ألفي عامل."""
MATERIAL = {"mail": MAIL, "log": LOG, "code": CODE, "fenced": f"```\n{CODE}\n```", "article": ARTICLE}
