"""Figures drawn from tensors, all in one grammar: `from utils import figures`, then `figures.heatmap(...)`.

`style` and `drawing` are what every figure is made of; `page` puts a figure under its number and caption, or lets the
reader play with it; `charts`, `explorers` and `model_map` are what several lessons share; each further module holds the
pictures of one lesson. matplotlib and seaborn load when a function needs them.
"""

from .attention import attention_diagram, attention_flow, picked
from .charts import heatmap, heatmaps, label_lines, softmax_rows
from .drawing import Shape, arrow, box, canvas, columns, node, text, vector
from .explorers import attention_explorer, attention_of_one, hide_words, query_in_the_plane, turn_the_query
from .heads import intervals, multi_head_diagram, splits, subtraction_plane, two_averages
from .matrices import (
    attention_in_parallel,
    attention_layer,
    matrix,
    one_score,
    online_softmax,
    roofline,
    scores_as_products,
    tiles,
)
from .model_map import pre_and_post_norm, you_are_here
from .one_stack import hidden_word, in_the_plane_of_spread, kept_and_dropped, runs_by_amount, two_segments
from .page import explore, show, spot
from .positions import (
    clock_faces,
    one_hand,
    one_hot_appended,
    other_paces,
    paint,
    position_matrix,
    positions_added,
    right_by_distance,
    right_by_places,
    turned_pair,
    who_comes_first,
)
from .search import decoding_step, growing_cache, shared_ngrams
from .seq2seq import encoder_decoder, seq2seq_parts, writing_step
from .sequences import asked_back, bills, cones, filter_steps, near_and_far, recurrence, waiting
from .since_2017 import CHANGES, against_the_first, read_in_a_step, two_layers
from .style import (
    BLUE,
    GRAY,
    GREEN,
    KEY,
    LOOKS,
    ORANGE,
    PALE,
    PURPLE,
    QUERY,
    SKY,
    VALUE,
    WEIGHT,
    YELLOW,
    as_array,
    as_word,
    number,
    use_style,
)
from .transformer import decoder_step, norm_axes, seq2seq_overview
from .translation import alignments, beam_tree, histograms, history, learning, padding, pieces, shared_sides, tuned
