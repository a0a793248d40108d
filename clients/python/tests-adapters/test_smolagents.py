"""An agent of smolagents whose model is a script, and whose tools run here."""


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
