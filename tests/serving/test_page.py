"""The page in headless Chromium, which drives a real server on loopback."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chromium and its driver: apt-get install chromium chromium-driver"
)
FLAGS = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
FLAGS += " disable-component-update disable-sync disable-dev-shm-usage"
SECONDS = 30


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in [*FLAGS.split(), f"user-data-dir={tmp_path_factory.mktemp('browser')}", "window-size=1200,1400"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))  # given: nothing is downloaded
    yield found
    found.quit()


class Servers:
    """``rexjax serve``, by address."""

    def __init__(self):
        self.started = {}

    def __call__(self, folder, *flags):
        command = [sys.executable, "-m", "rexjax.cli", "serve", str(folder), "--port", "0"]
        process = subprocess.Popen(
            [*command, "--store", ":memory:", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        )
        address = process.stdout.readline().split(": ")[0] + "/"
        self.started[address] = process
        return address

    def stop(self, address):
        process = self.started.pop(address)
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def serve():
    servers = Servers()
    yield servers
    for address in list(servers.started):
        servers.stop(address)


class Page:
    """What a person does, by the keyboard alone, and sees."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address
        driver.get_log("browser")
        driver.get(address)
        self.until(lambda: self.all("#items > li") or self.text("#error"))

    def until(self, holds):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, SECONDS, poll_frequency=0.05).until(lambda _: holds())

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def text(self, selector):
        return self.driver.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def texts(self, selector):
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
        return self.driver.execute_script(script, selector)

    def press(self, *keys):
        """To what has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def tab_to(self, name):
        """Goes on with Tab until the focus is on what has this accessible name."""
        for _ in range(80):
            if self.driver.switch_to.active_element.accessible_name == name:
                return
            self.press("\ue004")
        raise AssertionError(f"Tab does not reach {name!r}")

    def pick(self, text, *keys):
        """Types into the search field and presses ``keys``; waits for what is recommended then."""
        before = len(self.all("#picked > li"))
        self.tab_to("Add an item, by title or id")
        self.press(text, *keys)
        self.until(lambda: len(self.all("#picked > li")) == before + 1)
        self.settled()

    def settled(self):
        self.until(lambda: self.driver.execute_script("return !document.querySelector('[aria-busy=true]')"))

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


DOWN, ENTER, ESCAPE, SPACE = "\ue015", "\ue007", "\ue00c", " "


@pytest.fixture(scope="module")
def address(compared, serve):
    return serve(compared)


@pytest.fixture
def page(driver, address):
    page = Page(driver, address)
    yield page
    assert page.complaints() == []


def test_with_no_history_it_shows_what_is_popular_and_says_so(page):
    assert page.text("#said").startswith("No history yet: the most popular items")
    assert len(page.all("#items > li")) == 10 and "%" in page.texts("#items .score")[0]
    assert page.text("#compared") == "Put something into the history, and each model answers it."
    assert not page.all("#models article") and not page.all("#error:not([hidden])")


def test_an_item_is_searched_and_picked_and_its_recommendations_explained_and_removed_by_keyboard(page):
    page.tab_to("Add an item, by title or id")
    page.press("thing <12")
    page.until(lambda: len(page.all("#options li")) == 8)
    assert all("Thing <12" in text for text in page.texts("#options li"))
    page.press(DOWN, DOWN)
    second = page.texts("#options li")[1]
    (chosen,) = page.all("#options [aria-selected=true]")
    assert chosen.text == second and page.driver.switch_to.active_element.get_attribute("aria-activedescendant")
    page.press(ENTER)
    page.until(lambda: page.texts("#picked .name") == [second])
    page.until(lambda: page.text("#said").startswith("10 recommendations after 1 item,"))
    page.settled()
    page.pick("I77", ENTER)  # the first that has it: no list need be open
    first, last = page.texts("#picked .name")
    assert first == second and "i77" in last

    title = page.texts("#items .name")[0].rsplit(" ", 1)[0]
    page.tab_to(f"Why {title}?")
    page.press(SPACE)
    page.until(lambda: len(page.all("#items .why li")) == 3)
    given = [float(text.replace("−", "-")) for text in page.texts("#items .why .given")]
    assert sum(given) == pytest.approx(float(page.texts("#items .score")[0]), abs=4e-3)
    assert page.all("#items [aria-expanded=true]")
    page.press(SPACE)
    assert not page.all("#items .why:not([hidden])")

    page.driver.execute_script("document.activeElement.blur()")
    page.tab_to(f"Remove {first.rsplit(' ', 1)[0]}")
    page.press(ENTER)
    page.until(lambda: page.texts("#picked .name") == [last])
    assert page.driver.switch_to.active_element.accessible_name == f"Remove {last.rsplit(' ', 1)[0]}"
    page.press(ENTER)
    page.until(lambda: page.text("#said").startswith("No history yet"))
    assert page.driver.switch_to.active_element.get_attribute("id") == "search"


def test_a_title_with_markup_is_text(page):
    markup = "Thing <img src=x onerror=\"document.title='owned'\">"
    page.tab_to("Add an item, by title or id")
    page.press("<img")
    page.until(lambda: page.texts("#options li") == [f"{markup} i11999"])
    page.press(ENTER)
    page.until(lambda: page.texts("#picked .name") == [f"{markup} i11999"])
    page.settled()
    assert not page.all("main img") and page.driver.title == "Recommendations · rexjax"


def test_models_stand_side_by_side_with_latency_and_bytes_under_each(page):
    page.pick("i5", ENTER)
    assert page.texts("#models h3") == ["Teacher", "Student", "Student, int8"]
    assert [len(column.find_elements("css selector", "li")) for column in page.all("#models article")] == [10] * 3
    costs = page.texts("#models dl")
    assert all("latency" in cost and " ms" in cost and "bytes" in cost and " kB" in cost for cost in costs)
    lists = [column.find_elements("css selector", "li") for column in page.all("#models article")]
    titles = [[one.find_element("css selector", ".name").text for one in column] for column in lists]
    for column, names in list(zip(lists, titles, strict=True))[1:]:
        marked = [one.get_attribute("class") == "same" for one in column]
        assert marked == [name in titles[0] for name in names]
    assert titles[2] == [text.rsplit(" ", 1)[0] for text in page.texts("#items > li > .name")]


def test_a_list_is_closed_by_escape_and_a_text_that_nothing_has_is_told(page):
    page.tab_to("Add an item, by title or id")
    page.press(DOWN)
    page.until(lambda: page.all("#options:not([hidden]) li"))
    page.press(ESCAPE)
    assert page.all("#options[hidden]") and not page.all("#picked li")
    page.press("nothing has this", ENTER)
    page.until(lambda: page.text("#looked") == "No title or id has this in it.")
    assert not page.all("#picked li")


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen(page, width):
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    page.pick("<img", ENTER)
    assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_key_is_asked_for_where_one_is_needed(exported, serve, driver, tmp_path):
    (tmp_path / "keys").write_text(f"web:{hashlib.sha256(b's3cret').hexdigest()}")
    page = Page(driver, serve(exported, "--keys", str(tmp_path / "keys")))
    assert page.text("#error") == "Send a known API key: Authorization: Bearer KEY."
    assert driver.switch_to.active_element.accessible_name == "API key"
    page.press("wrong", ENTER)
    page.until(
        lambda: driver.execute_script("return document.activeElement.id === 'key' && !document.activeElement.value")
    )
    page.press("s3cret", ENTER)
    page.until(lambda: page.all("#items > li"))
    assert page.all("#keyform[hidden]") and page.all("#error[hidden]")
    assert driver.execute_script("return localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_what_a_server_cannot_do_is_told(exported, serve, driver, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "export")
    about = json.loads((folder / "bundle.json").read_text())
    del about["files"]["explain.program"]
    next(folder.rglob("explain.program")).unlink()
    (folder / "bundle.json").write_text(json.dumps(about))
    page = Page(driver, serve(folder))
    page.pick("i5", ENTER)
    assert "rexjax export WORKDIR FOLDER --compare" in page.text("#compared") and not page.all("#models article")
    page.tab_to(f"Why {page.texts('#items .name')[0].rsplit(' ', 1)[0]}?")
    page.press(ENTER)
    page.until(lambda: driver.switch_to.active_element.accessible_name == "Cannot say why")
    told = "The model that answers is none whose score is a sum over the history."
    assert page.texts("#items .why:not([hidden])") == [told]
    serve.stop(page.address)
    page.press("\ue004", ENTER)  # the next button: add it to the history
    page.until(lambda: page.text("#error") == "The server cannot be reached.")
