"""An encoded glance with all that is needed to publish and to answer."""

import dataclasses

import torch
from std_msgs.msg import Header

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.ros.conversions import PreparedGlance
from distillnerf_ros.ros.messages import header_at
from distillnerf_ros.ros.parameters import Parameters
from distillnerf_ros.ros.synchronizer import Glance
from distillnerf_ros.voxels.field import VoxelField


@dataclasses.dataclass(frozen=True)
class Scene:
    """The field of one glance.

    Attributes:
        field: in the vehicle frame at the reference stamp.
        rig: the cameras it was made from.
        header: reference stamp and vehicle frame.
        camera_headers: header of the image of each usable camera.
        full_sizes: height and width of the images as sent, per usable camera.
    """

    field: VoxelField
    rig: CameraRig
    header: Header
    camera_headers: dict[str, Header]
    full_sizes: dict[str, tuple[int, int]]

    @classmethod
    def of(
        cls,
        prepared: PreparedGlance,
        field: VoxelField,
        glance: Glance,
        parameters: Parameters,
    ) -> "Scene":
        """Collect the parts of an encoded glance."""
        headers = {
            parameters.cameras[frame.camera]: frame.image.header for frame in glance.present
        }
        usable = {name: headers[name] for name in prepared.full_sizes}
        header = header_at(glance.reference_ns, parameters.base_frame)
        return cls(field, prepared.rig, header, usable, prepared.full_sizes)

    def views(self, cameras: set[str]) -> CameraRig:
        """The rig of some of the usable cameras, in the rig's order."""
        index = torch.tensor(
            [i for i, name in enumerate(self.rig.names) if name in cameras], dtype=torch.long
        )
        return CameraRig(
            tuple(self.rig.names[i] for i in index.tolist()),
            self.rig.images[index],
            self.rig.intrinsics[index],
            self.rig.ego_from_camera[index],
            self.rig.valid[index],
        )
