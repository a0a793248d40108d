"""Agents of real frameworks, whose model is a script, use a session."""

import asyncio
import json

from kaa.agents import Toolbox

CODE = ("x = 6", "x * 7")


def test_openai_agents(kaa_session):
    from agents import Agent, RunConfig, Runner
    from agents.items import ModelResponse
    from agents.models.interface import Model
    from agents.usage import Usage
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    class Scripted(Model):
        def __init__(self):
            self.seen = []

        async def get_response(self, system_instructions, input, *args, **kwargs):
            self.seen.append(input)
            step = len(self.seen) - 1
            if step < len(CODE):
                output = ResponseFunctionToolCall(
                    type="function_call", call_id=str(step), id=str(step), name="run_python", arguments=json.dumps({"code": CODE[step]})
                )
            else:
                text = ResponseOutputText(type="output_text", text="done", annotations=[])
                output = ResponseOutputMessage(type="message", id="m", role="assistant", status="completed", content=[text])
            return ModelResponse(output=[output], usage=Usage(), response_id=None)

        def stream_response(self, *args, **kwargs):
            raise NotImplementedError

    model = Scripted()
    agent = Agent(name="a", model=model, tools=Toolbox(kaa_session).openai_agents())
    result = asyncio.run(Runner.run(agent, "go", run_config=RunConfig(tracing_disabled=True)))
    assert result.final_output == "done"
    outputs = [item["output"] for item in model.seen[-1] if item.get("type") == "function_call_output"]
    assert outputs == ["[no output]", "42"]


def test_pydantic_ai(kaa_session):
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    steps = []

    def model(messages, info):
        assert {tool.name for tool in info.function_tools} == {"run_python", "run_command", "read_file", "write_file"}
        steps.append(messages)
        if len(steps) <= len(CODE):
            return ModelResponse(parts=[ToolCallPart("run_python", {"code": CODE[len(steps) - 1]})])
        return ModelResponse(parts=[TextPart(str(messages[-1].parts[0].content))])

    agent = Agent(FunctionModel(model), toolsets=[Toolbox(kaa_session).pydantic_ai()])
    assert agent.run_sync("go").output == "42"


def test_smolagents(kaa_session):
    from smolagents import ChatMessage, CodeAgent, MessageRole, Model, tool

    from kaa.smolagents import KaaExecutor

    @tool
    def price(item: str) -> float:
        """Look a price up.

        Args:
            item: The name of the item.
        """
        return {"tea": 3.5, "cake": 4.0}[item]

    class Scripted(Model):
        steps = ("total = price('tea') + price(item='cake')\nprint(total)", "1 / 0", "print(start)\nfinal_answer(total * 2)")

        def __init__(self):
            super().__init__()
            self.seen = []

        def generate(self, messages, **kwargs):
            self.seen.append(str(messages[-1].content))
            code = self.steps[len(self.seen) - 1]
            return ChatMessage(role=MessageRole.ASSISTANT, content=f"Thought: go on\n<code>\n{code}\n</code>")

    model = Scripted()
    agent = CodeAgent(tools=[price], model=model, executor=KaaExecutor(kaa_session), max_steps=4)
    assert agent.run("go", additional_args={"start": [1, 2]}) == 15.0
    assert "7.5" in model.seen[1] and "ZeroDivisionError" in model.seen[2]
