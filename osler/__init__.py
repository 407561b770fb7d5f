"""What builds a clinical language model: rooms in the order of the data, on the ground floor `build`."""

from osler.build.process import prepare

prepare()
