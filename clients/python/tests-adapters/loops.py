"""Agents of real frameworks whose model is a script: each of its steps is a call of a tool in a session."""

from __future__ import annotations

import asyncio
import json
from time import perf_counter, process_time

from kaa.agents import Toolbox


class Script:
    """A model that wants some programs executed, one after the other.

    It notes what it sees of each, and the time and the processor time of this process between its calls.
    """

    def __init__(self, programs) -> None:
        self.seen: list[str] = []
        self.times: list[tuple[float, float]] = []
        self._programs = iter(programs)
        self._since = 0.0, 0.0

    def next(self, answer: object = "") -> str | None:
        """Return the next program, None after the last. answer is what the framework shows of the one before."""
        if self._since[0]:
            self.times.append((perf_counter() - self._since[0], process_time() - self._since[1]))
            self.seen.append(str(answer))
        program = next(self._programs, None)
        self._since = perf_counter(), process_time()
        return program


def openai_tools(session, script: Script) -> None:
    box, answer = Toolbox(session), ""
    while program := script.next(answer):
        call = {"id": "c", "type": "function", "function": {"name": "run_python", "arguments": json.dumps({"code": program})}}
        answer = box.answer_openai({"role": "assistant", "tool_calls": [call]})[0]["content"]


def anthropic_tools(session, script: Script) -> None:
    box, answer = Toolbox(session), ""
    while program := script.next(answer):
        block = {"type": "tool_use", "id": "c", "name": "run_python", "input": {"code": program}}
        answer = box.answer_anthropic({"role": "assistant", "content": [block]})["content"][0]["content"][0]["text"]


def openai_agents(session, script: Script) -> None:
    from agents import Agent, RunConfig, Runner
    from agents.items import ModelResponse
    from agents.models.interface import Model
    from agents.usage import Usage
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    class Scripted(Model):
        async def get_response(self, system_instructions, input, *args, **kwargs):
            answers = [item["output"] for item in input if isinstance(item, dict) and item.get("type") == "function_call_output"]
            program, id = script.next(answers[-1] if answers else ""), str(len(answers))
            if program:
                output = ResponseFunctionToolCall(
                    type="function_call", call_id=id, id=id, name="run_python", arguments=json.dumps({"code": program})
                )
            else:
                text = ResponseOutputText(type="output_text", text="done", annotations=[])
                output = ResponseOutputMessage(type="message", id="m", role="assistant", status="completed", content=[text])
            return ModelResponse(output=[output], usage=Usage(), response_id=None)

        def stream_response(self, *args, **kwargs):
            raise NotImplementedError

    agent = Agent(name="a", model=Scripted(), tools=Toolbox(session).openai_agents())
    result = asyncio.run(Runner.run(agent, "go", max_turns=100, run_config=RunConfig(tracing_disabled=True)))
    assert result.final_output == "done"


def pydantic_ai(session, script: Script) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def model(messages, info):
        program = script.next(messages[-1].parts[0].content)
        return ModelResponse(parts=[ToolCallPart("run_python", {"code": program}) if program else TextPart("done")])

    assert Agent(FunctionModel(model), toolsets=[Toolbox(session).pydantic_ai()]).run_sync("go").output == "done"


def smolagents(session, script: Script) -> None:
    from smolagents import ChatMessage, CodeAgent, LogLevel, MessageRole, Model

    from kaa.smolagents import KaaExecutor

    class Scripted(Model):
        def generate(self, messages, **kwargs):
            text = messages[-1].content if isinstance(messages[-1].content, str) else messages[-1].content[0]["text"]
            code = script.next(text) or "final_answer('done')"
            return ChatMessage(role=MessageRole.ASSISTANT, content=f"Thought: go on\n<code>\n{code}\n</code>")

    agent = CodeAgent(tools=[], model=Scripted(), executor=KaaExecutor(session), max_steps=100, verbosity_level=LogLevel.OFF)
    assert agent.run("go") == "done"


def _chat_model(script: Script, tool: str, argument: str):
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Scripted(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "script"

        def bind_tools(self, tools, **kwargs):
            return self

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            program = script.next(messages[-1].content)
            calls = [{"name": tool, "args": {argument: program}, "id": str(len(messages))}] if program else []
            return ChatResult(generations=[ChatGeneration(message=AIMessage(content="" if program else "done", tool_calls=calls))])

    return Scripted()


def langchain(session, script: Script):
    from langchain.agents import create_agent

    import kaa.langchain

    agent = create_agent(_chat_model(script, "run_python", "code"), tools=kaa.langchain.tools(session))
    state = agent.invoke({"messages": [("user", "go")]}, {"recursion_limit": 1000})
    assert state["messages"][-1].content == "done"
    return state["messages"]


def deepagents(session, script: Script):
    from deepagents import create_deep_agent

    from kaa.deepagents import KaaSandbox

    agent = create_deep_agent(_chat_model(script, "execute", "command"), backend=KaaSandbox(session))
    state = agent.invoke({"messages": [("user", "go")]}, {"recursion_limit": 1000})
    assert state["messages"][-1].content == "done"
    return state["messages"]


def inspect(session, script: Script, log_dir: str = "/tmp", sandbox: str = "kaa"):
    """It opens a session of its own."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.solver import generate, use_tools
    from inspect_ai.tool import bash

    import kaa.inspect  # noqa: F401  an installed package is found by its entry point

    def outputs(input, tools, tool_choice, config):
        program = script.next(input[-1].text)
        if program is None:
            output = ModelOutput.from_content("mockllm/model", "done")
        else:
            output = ModelOutput.for_tool_call("mockllm/model", "bash", {"command": program})
        output.usage = ModelUsage()  # Inspect would fetch an encoding to count tokens
        return output

    task = Task(dataset=[Sample(input="go", files={"given.txt": "given"})], solver=[use_tools(bash()), generate()], sandbox=sandbox)
    model = get_model("mockllm/model", custom_outputs=outputs)
    (log,) = eval(task, model=model, log_dir=log_dir, display="none", log_samples=True)
    assert log.status == "success", log.error
    return log


# What each has executed: Python or a line of a shell.
LOOPS = {
    "OpenAI's tools": (openai_tools, "python"),
    "Anthropic's tools": (anthropic_tools, "python"),
    "OpenAI's Agents SDK": (openai_agents, "python"),
    "Pydantic AI": (pydantic_ai, "python"),
    "smolagents": (smolagents, "python"),
    "LangChain": (langchain, "python"),
    "deepagents": (deepagents, "shell"),
    "Inspect AI": (inspect, "shell"),
}
