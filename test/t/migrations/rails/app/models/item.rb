class Item < ActiveRecord::Base
  belongs_to :order
end
