"""The exercises of each lesson: specification, cases, right answers, and the usual mistakes as patches of them."""
