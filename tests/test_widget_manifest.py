"""What napari learns of the plugin, and what opening the widget costs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest

pytest.importorskip("napari")

from npe2 import PluginManifest
from qtpy.QtCore import Qt

import napari_probseg
from napari_probseg.napari_io.version import check_version
from napari_probseg.widgets.keys import Keys, short
from napari_probseg.widgets.settings import BESIDE_IMAGE, KEYS, LIVE_ON, Settings, keep_setting, read_settings

MANIFEST = PluginManifest.from_file(f"{napari_probseg.__path__[0]}/napari.yaml")
COMMANDS = [command for command in MANIFEST.contributions.commands if ".widgets." in command.python_name]


@pytest.mark.parametrize("command", MANIFEST.contributions.commands, ids=lambda command: command.id)
def test_every_command_is_there(command):
    module, _, name = command.python_name.partition(":")
    assert callable(getattr(import_module(module), name))


def test_the_manifest_imports():
    MANIFEST.validate_imports()


def test_every_verb_is_a_command():
    names = {command.id.rpartition(".")[2] for command in COMMANDS}
    names |= {name.partition("_")[0] for name in names}
    assert set(KEYS) - {"hide"} <= names, "what is held is no command"


def test_the_settings_page_has_the_defaults_of_the_code():
    pages = MANIFEST.contributions.configurations
    assert {name: prop.default for name, prop in pages["keys"].properties.items()} == dict(KEYS)
    defaults = Settings()
    for name, prop in pages["segment"].properties.items():
        assert prop.default == getattr(defaults, name)


def test_settings_are_read_as_the_user_set_them(monkeypatch):
    """The stored settings stand in for the user's own page, which a test must not touch."""
    keys = SimpleNamespace(**{**KEYS, "propose": "W"})
    stored = SimpleNamespace(
        segment=SimpleNamespace(
            n_candidates=4,
            brush_size=3,
            device="cpu",
            journal=BESIDE_IMAGE,
            live=LIVE_ON,
            fill=True,
            class_colours=False,
            compute_on="",
        ),
        keys=keys,
    )
    monkeypatch.setattr("napari.settings.get_plugin_settings", lambda plugin: stored, raising=False)
    assert read_settings() == Settings(4, 3, "cpu", {**KEYS, "propose": "W"}, BESIDE_IMAGE, LIVE_ON, True)
    keep_setting("class_colours", True)
    assert read_settings().class_colours


def test_without_a_settings_page_the_defaults_hold(monkeypatch):
    monkeypatch.delattr("napari.settings.get_plugin_settings", raising=False)
    keep_setting("class_colours", True)
    assert read_settings() == Settings()


def test_no_two_verbs_share_a_key():
    assert len(set(KEYS.values())) == len(KEYS)


def test_the_widget_and_its_commands_open_from_the_menu(make_napari_viewer, qtbot):
    from napari_probseg.widgets import commands

    viewer = make_napari_viewer()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-probseg", "Segment")
    assert commands.widget_of(viewer) is widget
    qtbot.mouseClick(widget.panel.empty.sample, Qt.MouseButton.LeftButton)
    commands.inside()
    assert viewer.layers.selection.active.name == "markers of cell"
    dock.destroyOnClose()
    assert commands.widget_of(viewer) is not widget


def test_a_key_of_another_plugin_is_left_alone(make_napari_viewer_proxy):
    class Owner:
        def act(self) -> None: ...

    viewer, owner = make_napari_viewer_proxy(), Owner()
    viewer.bind_key("G", lambda _: None)
    keys = Keys(viewer, {"propose": owner.act, "accept": owner.act, "undo": owner.act})
    assert keys.bind({"propose": "G", "accept": "K", "undo": "no such key"}) == ["G", "no such key"]
    keys.release()
    assert len(viewer.keymap) == 1


def test_a_key_is_drawn_short():
    assert short("Shift+U") == "⇧U"


@pytest.mark.parametrize("version", ["0.5.6", "0.6.7.dev12+g1", "0.4.19.post1"])
def test_a_napari_that_is_too_old_gets_a_sentence(version):
    with pytest.raises(
        RuntimeError, match=rf"needs napari 0\.7 or newer, and this is {re.escape(version)}: pip install"
    ):
        check_version(version)


@pytest.mark.parametrize("version", ["0.7.0rc1", "0.7.0", "0.10.0", "1.0"])
def test_any_other_napari_is_let_pass(version):
    check_version(version)


def test_the_widget_imports_no_torch():
    code = "import sys, napari_probseg.widgets.segment.widget, napari_probseg.widgets.commands; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
