"""The evidence report, in a real browser: what it looks like, whether everybody can read it, and that it does nothing.

`.ci/report` has the pages written by the tests of the command line and runs this. Screenshots and prints are left beside
the pages.
"""

import os
import pathlib

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

PAGES = pathlib.Path(os.environ["REPORT_PAGES"])
NAMES = ["period.html", "dana.html", "hostile.html", "tampered.html", "empty.html"]
BROWSER = os.environ["BROWSER"]
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def browser():
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(params=NAMES)
def opened(browser, request):
    """A page, and what the browser asked for and complained about on the way."""
    page = browser.new_page(viewport=WIDE)
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    address = (PAGES / request.param).as_uri()
    page.goto(address)
    yield page, request.param, asked, complaints
    assert asked == [address], "nothing else is asked for"
    assert complaints == []
    page.close()


def test_no_text_of_an_event_does_anything(opened):
    page, _, _, _ = opened
    assert page.title().startswith("VPN revocations: ")
    assert page.locator("script, img, iframe, object, embed, form, [onerror], [onclick]").count() == 0


def test_everybody_can_read_it(opened):
    page, name, _, _ = opened
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    for landmark in ["banner", "main", "navigation", "contentinfo"]:
        assert page.get_by_role(landmark).count() == 1, landmark
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(heading => Number(heading.tagName[1]))")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:])), levels


def test_nothing_is_cut_off_on_a_telephone(opened):
    page, name, _, _ = opened
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    page.screenshot(path=PAGES / f"{name}.narrow.png", full_page=True)


def test_the_pictures_show_what_happened_in_its_order(opened):
    page, name, _, _ = opened
    page.screenshot(path=PAGES / f"{name}.png", full_page=True)
    timelines = page.locator("article svg").all()
    assert bool(timelines) == (name != "empty.html"), name
    for timeline in timelines:
        box = timeline.bounding_box()
        marks = timeline.locator("rect.mark").evaluate_all("all => all.map(mark => mark.getBoundingClientRect().x)")
        assert marks, name
        assert marks == sorted(marks), f"{name}: time runs to the right"
        texts = timeline.locator("text").evaluate_all(
            "all => all.map(text => { const box = text.getBoundingClientRect(); return [box.left, box.right]; })"
        )
        for left, right in texts:
            assert box["x"] - 1 <= left and right <= box["x"] + box["width"] + 1, f"{name}: a text leaves its picture"
    bars = page.locator("#times rect")
    counts = page.locator("#times td").all_inner_texts()
    heights = bars.evaluate_all("all => all.map(bar => bar.getBoundingClientRect().height)")
    assert [count == "0" for count in counts] == [height == 0 for height in heights]


def test_no_two_texts_of_a_picture_stand_on_each_other(opened):
    page, name, _, _ = opened
    overlaps = """all => all.flatMap(svg => {
        const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
        return boxes.flatMap(([one, a], at) => boxes.slice(at + 1)
            .filter(([_, b]) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
            .map(([other]) => one + ' / ' + other));
    })"""
    assert page.locator("svg").evaluate_all(overlaps) == [], name


def test_it_prints(opened):
    page, name, _, _ = opened
    page.pdf(path=PAGES / f"{name}.pdf", format="A4", print_background=True)
    page.emulate_media(media="print")
    assert page.locator("details").evaluate_all("all => all.every(part => !part.checkVisibility())"), "no closed folds"
    wide = "all => all.every(table => table.getBoundingClientRect().right <= document.documentElement.clientWidth + 1)"
    page.set_viewport_size({"width": 718, "height": 1000})  # an A4 page without its margins
    assert page.locator("table").evaluate_all(wide), f"{name}: a table is wider than the paper"


def test_the_verdict_is_said_in_words_and_not_by_colour_alone(opened):
    page, name, _, _ = opened
    verdict = page.locator(".verdict").inner_text()
    expected = {"tampered.html": "✗ Not every chain is whole.", "empty.html": "Nothing was recorded."}
    assert verdict.startswith(expected.get(name, "✓ These chains are whole."))
