"""Same meaning or not, from the words alone: the baseline of lesson 09's fine-tuning, which knows no order."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from utils.paraphrases import Question, words


class BagOfWords:
    """Logistic regression on two facts about each word: both sentences have it; one of them alone has it.

    The words are those of the questions that it learns from. It is fitted to the one best answer of its loss, mean
    -log p plus `decay` times the squared weights: no seed, and no rate to choose. `further` gives other numbers of each
    question, (N, F), to learn from beside the words. Lesson 09.
    """

    def __init__(self, questions: Sequence[Question], decay: float = 1e-3, further: Callable | None = None):
        known = sorted(set().union(*(words(q.a) | words(q.b) for q in questions)))
        self.index = {word: i for i, word in enumerate(known)}
        self.further = further
        x, y = self.features(questions), torch.tensor([float(q.same) for q in questions])
        self.weight, self.bias = torch.zeros(x.shape[1]), torch.zeros(())
        learned = [self.weight.requires_grad_(), self.bias.requires_grad_()]
        optimizer = torch.optim.LBFGS(learned, max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            nll = torch.nn.functional.binary_cross_entropy_with_logits(x @ self.weight + self.bias, y)
            (nll + decay * self.weight.pow(2).sum()).backward()
            return nll.detach() + decay * self.weight.detach().pow(2).sum()

        optimizer.step(loss)

    def features(self, questions: Sequence[Question]) -> Float[Tensor, "N F"]:
        """(N, 2 V + F): 1 where both sentences have the word, 1 where one of them alone has it, and what is further."""
        x = torch.zeros(len(questions), 2, len(self.index))
        for i, q in enumerate(questions):
            a, b = words(q.a), words(q.b)
            for k, found in enumerate((a & b, a ^ b)):
                x[i, k, [self.index[word] for word in found if word in self.index]] = 1.0
        return torch.cat([x.flatten(1), *([self.further(questions)] if self.further else [])], dim=1)

    @torch.no_grad()
    def probability_of_one(self, questions: Sequence[Question]) -> Float[Tensor, " N"]:
        """The probability that they mean the same, for each question."""
        return torch.sigmoid(self.features(questions) @ self.weight + self.bias)
