"""Real sentences on varied topics, in groups of related meaning, and which are nearest to which.

From one word to nearly 250 tokens, with digits, punctuation and letters beyond ASCII.
"""

from __future__ import annotations

from typing import Final

import torch

from mosaic.errors import InputError

GROUPS: Final[tuple[tuple[str, ...], ...]] = (
    ("Thunderstorm", "Lightning struck the church tower, and a moment later the thunder rolled over the village."),
    (
        "The bakery on the corner sells out of sourdough before nine.",
        "If you want fresh bread from the baker's, get there early in the morning.",
        "Bread",
    ),
    (
        "How do I reset my password?",
        "I can't log in to my account any more: it says that my login details are wrong, although I typed the password exactly as"
        " I had written it down. Could you please send me a link with which I can choose a new one?",
    ),
    (
        "The train from Zürich to Milano leaves at 07:33 from platform 8 and takes 3 h 17 min.",
        "Der Zug von Zürich nach Mailand fährt um 7.33 Uhr auf Gleis 8 ab.",
        "Which railway line crosses the Alps to Italy?",
    ),
    (
        "Add two eggs, 250 g of flour, ½ l of milk and a pinch of salt; whisk until smooth, then let the batter rest for 30 minutes.",
        "For pancakes, mix milk, flour and eggs, and fry ladlefuls of it in butter.",
    ),
    (
        "Interest rates were raised by 0.25 % to 4.50 % on Wednesday, the central bank said.",
        "The central bank made borrowing more expensive again, for the third time this year. Its governor told reporters that "
        "inflation, at 5.8 %, was still far above the goal of 2 %, that wages were rising faster than before, and that the board "
        "would not hesitate to go further if prices did not calm down by the autumn; most analysts had expected the step, and "
        "shares hardly moved.",
    ),
    (
        "She practised the cello suite every evening until her fingertips were sore.",
        "Learning a string instrument takes years of daily practice.",
    ),
    (
        "A black hole's gravity is so strong that not even light can escape from it.",
        "When a star of more than about twenty times the mass of our Sun has burnt all that it can burn, nothing holds its core "
        "up any longer. Within less than a second the core falls in on itself; the outer layers bounce off and are thrown into "
        "space as a supernova, which for some weeks may outshine the galaxy around it. What remains is either a neutron star, no "
        "larger than a city, or, if more than roughly three solar masses are left over, an object from whose surroundings light "
        "itself does not return. We cannot see such an object, but we can see what it does to its neighbours: gas that spirals "
        "into it is heated to millions of degrees and glows in X-rays, stars circle around a place where there seems to be "
        "nothing, and two of them that merge shake space so strongly that detectors on Earth, four kilometres long, measure a "
        "change in their length of less than a thousandth of the width of a proton. In 2019 eight radio telescopes, which "
        "together were as good as one the size of our planet, even took a picture: a dark disc in a ring of glowing gas, 55 "
        "million light years away.",
    ),
    (
        "The goalkeeper saved two penalties, and the home side won 4:3 after extra time.",
        "What a match! 120 minutes of football, then a shoot-out… and our keeper became the hero of the night.",
    ),
    (
        "def add(a, b): return a + b",
        "Write a Python function that returns the sum of its two arguments.",
    ),
    (
        "The patient complained of a dry cough, a fever of 38.9 °C and pain behind the breastbone when breathing in.",
        "Symptoms: coughing, high temperature, chest pain. The doctor listened to her lungs, suspected pneumonia, had an X-ray "
        "taken and prescribed an antibiotic for seven days, with the advice to rest, to drink a great deal, to come back at once "
        "if she should find it harder to breathe, and otherwise on Friday, when the results of the blood test would have arrived "
        "from the laboratory; by then, she was told, the fever ought to be gone, while the cough might well stay with her for "
        "some weeks more, as would a certain tiredness, which was nothing to worry about: her lungs would need time to heal.",
    ),
    (
        "Every autumn the swallows gather on the wires before they fly south to Africa.",
        "Migratory birds find their way by the sun, the stars and the Earth's magnetic field.",
    ),
)
"""Sentences; those of one group are about the same thing."""

SENTENCES: Final[tuple[str, ...]] = tuple(sentence for group in GROUPS for sentence in group)
"""All of them, group by group."""


def nearest(embeddings: torch.Tensor, count: int = 1) -> torch.Tensor:
    """For each row the `count` other rows that are most similar to it by cosine, the most similar first.

    `embeddings` is a float tensor [sentences, features], compared in float64 with rows brought to length 1; the result int64
    [sentences, count]. Of equally similar rows the earlier comes first.
    Raises InputError if there are fewer than `count` others, or `embeddings` is no matrix.
    """
    if embeddings.ndim != 2 or not 1 <= count < embeddings.shape[0]:
        raise InputError(f"cannot rank the {count} nearest among embeddings of the shape {tuple(embeddings.shape)}")
    unit = torch.nn.functional.normalize(embeddings.to(torch.float64), dim=1)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-torch.inf)
    return similarity.argsort(dim=1, descending=True, stable=True)[:, :count]
