"""The abstract class of penalties."""

from abc import ABC, abstractmethod


class Penalty(ABC):
    """A non-negative function of the weights and the activations of a network.

    A penalty of the weights alone sets `depends_on_rows` to False and has a method
    `form`; see `QuadraticPenalty`.
    """

    depends_on_rows = True

    @abstractmethod
    def value(self, passes, sample_share):
        """Penalty as a scalar Tensor.

        Parameters
        ----------
        passes : list of LayerPass
            What `KANNetwork.propagate` reported.
        sample_share : Tensor of shape (n_samples,)
            Sample weights that sum to one.
        """

    def of_edges(self, edges):
        """The penalty of a network that has some of the edges only.

        Parameters
        ----------
        edges : Tensor of int
            Positions of its edges in the larger network.
        """
        return self
