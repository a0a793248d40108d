"""The tools of a model, called as the models of OpenAI and Anthropic do."""

import json

import pytest

from kaa.agents import Toolbox, observation


@pytest.fixture
def tools(kaa_session):
    return Toolbox(kaa_session, size=200)


def test_definitions(tools):
    chat, responses, anthropic = tools.openai(), tools.openai(responses=True), tools.anthropic()
    assert [tool["function"]["name"] for tool in chat] == ["run_python", "run_command", "read_file", "write_file"]
    parameters = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"], "additionalProperties": False}
    assert chat[0]["function"]["parameters"] == responses[0]["parameters"] == anthropic[0]["input_schema"] == parameters
    assert all(tool["function"]["description"] for tool in chat)


def test_a_loop_of_openai(tools):
    def call(id, name, arguments):
        return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

    steps = [
        [call("1", "write_file", json.dumps({"path": "a.txt", "content": "1 2"}))],
        [call("2", "run_python", json.dumps({"code": "n = open('a.txt').read().split(); sum(n)"}))],  # a mistake
        [call("3", "run_python", json.dumps({"code": "print(sum(map(int, n)))"})), call("4", "run_command", json.dumps({"command": "cat a.txt; exit 2"}))],
        [call("5", "nothing", "{}"), call("6", "run_python", "{"), call("7", "run_python", '{"command": "x"}'), call("8", "read_file", '{"path": "none"}')],
    ]
    answers = [tools.answer_openai({"role": "assistant", "tool_calls": step}) for step in steps]
    texts = {message["tool_call_id"]: message["content"] for step in answers for message in step}
    assert "TypeError" in texts["2"] and texts["3"] == "3" and texts["4"] == "1 2\n[exit code 2]"
    assert "there is no tool" in texts["5"] and "arguments" in texts["6"] and "arguments" in texts["7"] and "file_not_found" in texts["8"]
    assert tools.answer_openai({"role": "assistant", "content": "done"}) == []


def test_a_step_of_anthropic(tools):
    code = "class P:\n def _repr_png_(self): return b'\\x89PNG'\ndisplay(P())\nprint('x' * 1000)"
    blocks = [{"type": "text", "text": "I run it."}, {"type": "tool_use", "id": "t", "name": "run_python", "input": {"code": code}}]
    message = tools.answer_anthropic({"role": "assistant", "content": blocks})
    (result,) = message["content"]
    assert result["tool_use_id"] == "t" and [part["type"] for part in result["content"]] == ["text", "image"]
    text = result["content"][0]["text"]
    assert "characters left out" in text and "[pictures: 1]" in text and len(text) < 300


def test_observation_of_nothing(kaa_session):
    assert observation(kaa_session.run("pass")) == "[no output]"
    assert "[files: a]" in observation(kaa_session.run("open('a', 'w').close()"))
